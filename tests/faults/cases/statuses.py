"""Every status that says no, and what each vendor's words make of it."""

from monitor.core.outcome import Outcome
from tests.faults.play import Case, End
from tests.faults.steps import for_ever, good, head, page, refusal, says, stream
from tests.protocols.script import Case as Said
from tests.protocols.script import script

AUTH, QUOTA, BAD = Outcome.AUTH_FAILED, Outcome.QUOTA_EXHAUSTED, Outcome.BAD_REQUEST
GONE, FAILED, E5XX = Outcome.MODEL_NOT_FOUND, Outcome.ASSERTION_FAILED, Outcome.HTTP_5XX
LIMITED, BUSY = Outcome.RATE_LIMITED, Outcome.OVERLOADED

STATUSES: tuple[tuple[int, Outcome, Outcome], ...] = (
    (400, BAD, FAILED), (401, AUTH, FAILED), (402, QUOTA, FAILED), (403, AUTH, FAILED), (404, GONE, FAILED),
    (405, BAD, FAILED), (406, BAD, FAILED), (408, Outcome.TOTAL_TIMEOUT, FAILED), (409, BAD, FAILED), (410, GONE, FAILED),
    (411, BAD, FAILED), (413, BAD, FAILED), (414, BAD, FAILED), (415, BAD, FAILED), (418, BAD, FAILED), (421, BAD, FAILED),
    (422, BAD, FAILED), (424, BAD, FAILED), (425, BAD, FAILED), (429, LIMITED, LIMITED), (431, BAD, FAILED),
    (451, BAD, FAILED), (499, BAD, FAILED), (500, E5XX, E5XX), (501, E5XX, E5XX), (502, E5XX, E5XX), (503, E5XX, E5XX),
    (504, E5XX, E5XX), (507, E5XX, E5XX), (511, E5XX, E5XX), (520, E5XX, E5XX), (522, E5XX, E5XX), (524, E5XX, E5XX),
    (525, E5XX, E5XX), (529, BUSY, E5XX), (530, E5XX, E5XX), (599, E5XX, E5XX),
)  # fmt: skip
"""The status, what it means of a language model, and of a page that is to answer with 200 to 299."""

BY_NUMBER = tuple(
    Case(
        name=f"status {status}", play=refusal(f"{status} No", {"error": {"message": "no, thank you"}}), outcome=outcome,
        plain=plain, says=f"status {status}: no, thank you", says_plain=f"status is {status}", loose=status not in (404, 410, 429),
    )
    for status, outcome, plain in STATUSES
)  # fmt: skip

WORDS = (
    Case(name="a spent quota", outcome=QUOTA, says="Add credit", models=("openai-chat", "azure-openai", "openai-responses"),
         play=refusal("429 No", {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}})),
    Case(name="an overload with status 503", play=refusal("503 No", {"error": {"message": "The engine is overloaded"}}),
         outcome=BUSY, plain=E5XX, says="overloaded", says_plain="status is 503"),
    Case(name="an overload with status 529", play=refusal("529 No", ""), outcome=BUSY, plain=E5XX, says="status 529",
         says_plain="status is 529"),
    Case(name="an overload in plain words", play=says(page("503 No", "The engine is overloaded", kind="text/plain")),
         outcome=BUSY, plain=E5XX, says="overloaded", says_plain="status is 503"),
    Case(name="a spent quota in plain words", play=says(page("429 No", "Your quota is used up", kind="text/plain")),
         outcome=QUOTA, says="Add credit"),
    Case(name="a page that speaks of an overload", outcome=E5XX, plain=E5XX, says="status 503", says_plain="status is 503",
         play=says(page("503 No", "<style>.overload{}</style>", kind="text/html"))),
    Case(name="a model removed", before=stream(good), settings='interval = "2s"', play=refusal("404 No", {"error": {"message": "no such model"}}),
         outcome=Outcome.MODEL_REMOVED, says="worked here before", loose=False),
    Case(name="a filtered prompt", outcome=Outcome.CONTENT_FILTERED, says="Change the prompt",
         play=refusal("400 No", {"error": {"message": "filtered", "code": "content_filter"}})),
    Case(name="a refusal that is a web page", play=says(page("502 Bad Gateway", "<h1>502</h1>", kind="text/html")), outcome=E5XX,
         plain=E5XX, says="<h1>502</h1>", says_plain="status is 502"),
    Case(name="a refusal without a body", play=says(page("401 No", "")), outcome=AUTH, plain=FAILED, says="(empty body)",
         says_plain="status is 401"),
    Case(name="a refusal for ever", play=for_ever(b"no " * 20_000, after=[head("500 No")]), outcome=E5XX, plain=E5XX,
         says="status 500", says_plain="status is 500"),
    Case(name="a refusal now and then", play=for_ever(b"no ", 0.05, after=[head("403 No")]), outcome=AUTH, plain=FAILED,
         says="status 403", says_plain="status is 403"),
    Case(name="a refusal that stalls", play=says(head("400 No", "Content-Length: 500"), b'{"error": ', End.HANG), outcome=BAD,
         plain=FAILED, says="status 400", says_plain="status is 400"),
    Case(name="a refusal that is cut", play=says(head("500 No", "Content-Length: 500"), b"half a rea"), outcome=E5XX,
         plain=E5XX, says="half a rea", says_plain="status is 500"),
    Case(name="a refusal that is reset", play=says(head("503 No", "Content-Length: 500"), b"half", 0.05, End.RESET), outcome=E5XX,
         plain=E5XX, says="status 503", says_plain="status is 503"),
    Case(name="an error with status 200 that is a refusal's", play=refusal("200 OK", {"error": {"message": "Unauthorized", "code": 401}}),
         outcome=Outcome.STREAM_ERROR, says="Unauthorized"),
    *(
        Case(name=f"Retry-After {value}", loose=False, outcome=LIMITED, plain=LIMITED, says="status 429",
             says_plain="status is 429", play=refusal("429 No", {"error": {"message": "slow down"}}, f"Retry-After: {value}"))
        for value in ("0", "-5", "nan", "inf", "1e400", "soon", "Fri, 31 Dec 9999 23:59:59 GMT", "9" * 400, "")
    ),
)  # fmt: skip


def _as_heard(protocol: str, name: str, said: Said) -> Case:
    """A conversation from that protocol's script, over a real connection."""
    head_lines = [f"{key}: {value}" for key, value in said.headers.items() if key.lower() != "content-type"]
    kind = said.headers.get("content-type", "text/event-stream")
    ending = (End.HANG,) if said.open else ()
    # The limits of those recordings are longer, and stand in their words.
    words = said.says.partition(" within ")[0]
    return Case(
        name=f"{protocol} says: {name}", models=(protocol,), outcome=said.outcome, says=words, loose=False,
        play=says(head(f"{said.status} Status", *head_lines, kind=kind), said.body, *ending),
    )  # fmt: skip


HEARD = tuple(
    _as_heard(protocol, name, said)
    for protocol in ("openai-chat", "anthropic", "gemini", "openai-responses", "azure-openai")
    for name, said in script(protocol).CASES.items()
    if not said.worked and said.served_before is None
)

CASES = (*BY_NUMBER, *WORDS, *HEARD)
