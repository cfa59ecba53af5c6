"""Servers that say our own key back to us, in every place and spelling. It may be kept nowhere."""

import json
from collections.abc import Callable, Iterator
from urllib.parse import quote

from monitor.core.outcome import Outcome
from tests.faults.play import Case, Play, Scene, Step
from tests.faults.steps import HEAD, Shared, head, page

OK, FAILED = Outcome.OK, Outcome.ASSERTION_FAILED
FULL: Shared = {
    "outcome": Outcome.BAD_REQUEST,
    "plain": FAILED,
    "says": "status 400",
    "says_plain": "status is 400",
}


def _echo(said: Callable[[Scene, str], bytes]) -> Play:
    def play(scene: Scene) -> Iterator[Step]:
        yield said(scene, scene.key)

    return play


def _keyed(said: Callable[[str], bytes]) -> Play:
    return _echo(lambda _, key: said(key))


def _message(text: Callable[[str], str]) -> Play:
    """An error message with the key in it, spelled that way."""
    return _keyed(lambda key: page("400 No", '{"error": {"message": "wrong key: ' + text(key) + '"}}'))


def _slashed(key: str) -> str:
    return key.replace("/", "\\/")


def _in_hex(key: str) -> str:
    return "".join(f"\\u{ord(character):04x}" for character in key)


def _in_html(key: str) -> str:
    return "".join(letter if letter.isalnum() else f"&#{ord(letter)};" for letter in key)


def _in_three(scene: Scene, key: str) -> bytes:
    """The key as an answer, three letters in each piece."""
    return HEAD + scene.voice.answer(*(key[at : at + 3] for at in range(0, len(key), 3)))


def _in_two(scene: Scene, key: str) -> bytes:
    """The key as an answer, one half in each piece."""
    return HEAD + scene.voice.answer("your key is ", key[: len(key) // 2], key[len(key) // 2 :])


def _whole_request(scene: Scene, _: str) -> bytes:
    return page("400 No", scene.request, kind="text/plain")


CASES = (
    Case(name="the request said back", play=_echo(_whole_request), loose=False, **FULL),
    Case(name="the request said back within JSON", loose=False, **FULL,
         play=_echo(lambda s, _: page("400 No", json.dumps({"error": {"message": s.request.decode()}})))),
    Case(name="the key in an error", play=_message(str), **FULL),
    Case(name="the key with escaped slashes", play=_message(_slashed), **FULL),
    Case(name="the key in escapes alone", play=_message(_in_hex), **FULL),
    Case(name="the key in capitals", play=_message(str.upper), **FULL),
    Case(name="the key in small letters", play=_message(str.lower), **FULL),
    Case(name="the key letter by letter", play=_message(" ".join), **FULL),
    Case(name="the key in hexadecimal digits", play=_message(lambda key: key.encode().hex()), **FULL),
    Case(name="the key in a URL within a URL", play=_message(lambda key: quote(quote(key, safe=""), safe="")), **FULL),
    Case(name="the key in HTML", play=_message(_in_html), **FULL),
    Case(name="the key in two halves", **FULL,
         play=_keyed(lambda k: page("400 No", f"tail {k[: len(k) // 2]}", f"X-Request-Id: {k[len(k) // 2 :]}"))),
    Case(name="the key in an error's code", **FULL,
         play=_keyed(lambda k: page("400 No", json.dumps({"error": {"message": "no", "code": k, "type": k, "param": k}})))),
    Case(name="the key many times", play=_keyed(lambda k: page("400 No", k * 300, kind="text/plain")), **FULL),
    Case(name="the key cut off", play=_keyed(lambda k: page("400 No", "wrong: " + k[:-2], kind="text/plain")), **FULL),
    Case(name="the key for a request id", **FULL,
         play=_keyed(lambda k: page("400 No", "no", f"X-Request-Id: {k}", f"Server: {k}", f"Via: {k}"))),
    Case(name="the key in the reason", play=_keyed(lambda k: page(f"400 {k}", "no")), **FULL),
    Case(name="the key in a redirect", outcome=Outcome.BAD_REQUEST, plain=FAILED,
         play=_keyed(lambda k: page("302 Found", f'<a href="/?k={k}">', f"Location: /?k={k}"))),
    Case(name="the key in a refusal with 401", outcome=Outcome.AUTH_FAILED, plain=FAILED, says="Check api_key",
         says_plain="status is 401",
         play=_keyed(lambda k: page("401 No", json.dumps({"error": {"message": f"Incorrect API key: {k}"}})))),
    Case(name="the key on a web page", outcome=Outcome.MALFORMED_RESPONSE, plain=FAILED, says="a web page",
         says_plain="the body does not contain",
         play=_keyed(lambda k: page("200 OK", f"<pre>{k}", kind="text/html"))),
    Case(name="the key in an event that is no JSON", outcome=Outcome.MALFORMED_RESPONSE, says="not valid JSON",
         play=_keyed(lambda k: HEAD + f"data: your key is {_slashed(k)}\n\n".encode())),
    Case(name="the key in an error event", outcome=Outcome.STREAM_ERROR, says="it broke",
         play=_echo(lambda s, k: HEAD + s.voice.failure("server_error", f"it broke: {k}"))),
    Case(name="the key in escapes in an error event", outcome=Outcome.STREAM_ERROR, says="inside status 200",
         play=_echo(lambda s, k: HEAD + s.voice.failure("server_error", "KEY").replace(b"KEY", _in_hex(k).encode()))),
    Case(name="the key for an answer", play=_echo(_in_two), outcome=Outcome.WRONG_ANSWER, loose=False,
         settings='expect = { answer = "pong" }', says="does not contain"),
    Case(name="the key for an answer, letter by letter", play=_echo(_in_three), outcome=Outcome.WRONG_ANSWER, loose=False,
         settings='expect = { answer = "pong" }', says="does not contain"),
    Case(name="the key for a model", outcome=Outcome.MODEL_SWAPPED, loose=False, settings='expect = { model = "acme-2" }',
         says="answered, expected", play=_echo(lambda s, k: HEAD + s.voice.answer().replace(b"acme-1", k.encode()))),
    Case(name="the key for a reason to stop", outcome=Outcome.EMPTY_COMPLETION, models=("openai-chat", "azure-openai"),
         play=_echo(lambda s, k: HEAD + s.voice.start() + s.voice.finish("stop").replace(b"stop", k.encode()))),
    Case(name="the key in escapes for a model", outcome=Outcome.MODEL_SWAPPED, loose=False,
         settings='expect = { model = "acme-2" }', says="answered, expected",
         play=_echo(lambda s, k: HEAD + s.voice.answer().replace(b"acme-1", _in_hex(k).encode()))),
    Case(name="the key in headers of a good answer", outcome=OK, plain=OK,
         play=_echo(lambda s, k: head("200 OK", f"X-Request-Id: {k}", f"X-RateLimit-Limit: {k}") + s.voice.answer())),
)  # fmt: skip
