"""What the events of every language model's protocol have in common: JSON of any shape, and errors.

Nothing that a server sends is indexed blindly: any field may be absent, null or of another type.
"""

import json
from typing import Any

from monitor.core.observation import VendorError, clean
from monitor.core.sse import Event
from monitor.protocols._reading import Reading
from monitor.protocols._vendor import vendor_error

KEPT = 200
"""Characters of a name or a quotation."""
_IDLE = frozenset({"ping", "keepalive", "keep-alive", "heartbeat", "[done]"})
"""Events without meaning; `[DONE]` is one where the protocol has another end, as gateways add it."""
_MOST = 10**9


def parsed(reading: Reading, event: Event) -> dict[str, Any] | None:
    """The JSON object of an event.

    None where there is none; if that means something, the reading knows of it.
    """
    data = event.data
    try:
        said = json.loads(data)
    except (ValueError, RecursionError):
        _no_json(reading, event.name, data)
        return None
    if event.name == "error":
        fail(reading, said)
    elif type(said) is dict:
        return said
    else:
        reading.misunderstood(f"an event is no JSON object: {data[:KEPT]}")
    return None


def _no_json(reading: Reading, name: str, data: str) -> None:
    if name == "error":
        reading.failed(VendorError(message=clean(data, KEPT * 2), in_stream=True))
    elif data.strip() and not _IDLE & {name, data.strip().lower()}:
        reading.misunderstood(f"an event is not valid JSON: {data[:KEPT]}")


def fail(reading: Reading, said: object) -> None:
    """An error, in whichever shape; one that says nothing is an error too."""
    error = vendor_error(said, in_stream=True)
    if error is None:
        # The names alone: to write out what may be nested deeply can fail.
        held = ", ".join(said) if type(said) is dict else type(said).__name__
        error = VendorError(message=clean(f"an error without a message, only: {held}", KEPT), in_stream=True)
    reading.failed(error)


def introduce(reading: Reading, said: dict[str, Any], id_key: str = "id", model_key: str = "model") -> None:
    """Who answers, as far as it is not known yet."""
    if reading.served_model is None:
        reading.served_model = _name(said.get(model_key))
    if reading.answer_id is None:
        reading.answer_id = _name(said.get(id_key))
    if reading.fingerprint is None:
        reading.fingerprint = _name(said.get("system_fingerprint"))
    if reading.upstream is None:
        reading.upstream = _name(said.get("provider"))  # OpenRouter


def _name(value: object) -> str | None:
    return clean(value, KEPT) if type(value) is str and value else None


def text(value: object) -> str:
    """The value if it is a text, else none."""
    return value if type(value) is str else ""


def table(value: object) -> dict[str, Any]:
    """The value if it is an object, else an empty one."""
    return value if type(value) is dict else {}


def tables(value: object) -> list[dict[str, Any]]:
    """The objects of a list; none if it is no list."""
    return [each for each in value if type(each) is dict] if type(value) is list else []


def count(said: object, name: str) -> int | None:
    """A count that can be true, None otherwise."""
    value = said.get(name) if type(said) is dict else None
    if type(value) is float and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value < _MOST else None
