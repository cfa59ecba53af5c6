"""The ways in which a library may print a secret, for the log; what servers say goes through `core.blot`."""

import json
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

from monitor.core.blot import base64_forms

SHORTEST_SECRET = 4
"""Characters. A shorter one would be found in half of all words, and hide them instead of itself."""


def forms(secret: str) -> Iterator[str]:
    """The spellings in which a secret may come back: as it is, in JSON, in a `repr`, in a URL, in base64."""
    if len(secret) < SHORTEST_SECRET:
        return
    raw = secret.encode("utf-8", "surrogatepass")
    for quoted in (secret, repr(secret)[1:-1], repr(raw)[2:-1]):
        in_json = json.dumps(quoted)[1:-1]
        # PHP, and whoever writes JSON into a page, escape slashes too.
        yield from (quoted, repr(quoted)[1:-1], in_json, in_json.replace("/", r"\/"))
    for quoted in (quote(raw), quote(raw, safe=""), quote_plus(raw)):
        yield from (quoted, _with_small_hex(quoted))
    yield from (form for form in base64_forms(raw) if len(form) >= SHORTEST_SECRET)


def _with_small_hex(quoted: str) -> str:
    first, *others = quoted.split("%")
    return "".join([first, *(f"%{part[:2].lower()}{part[2:]}" for part in others)])
