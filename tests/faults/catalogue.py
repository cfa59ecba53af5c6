"""Every way to fail that we know, each with the one outcome that is right by `docs/figures.md`."""

from collections.abc import Iterator

from monitor.core.outcome import Outcome
from tests.faults.cases import body, secrets, speech, statuses, tls, wire
from tests.faults.play import Case, Scene, Step
from tests.faults.steps import HEAD

FIRST_S = 0.060
GAP_S = 0.030
PIECES = 6


def _truly(scene: Scene) -> Iterator[Step]:
    """A good answer in its own good time."""
    voice = scene.voice
    yield HEAD + voice.start()
    yield FIRST_S
    for number in range(PIECES):
        yield voice.text(f"river {number} ")
        yield GAP_S
    yield voice.finish("length") + voice.close()


TRUE = Case(name="true", play=_truly, outcome=Outcome.OK, plain=Outcome.OK)
"""What healthy endpoints do: the server tells when it sent each piece."""

FAULTS = (*wire.CASES, *body.CASES, *speech.CASES, *statuses.CASES, *secrets.CASES, *tls.CASES)

CASES = {case.name: case for case in (TRUE, *FAULTS)}
assert len(CASES) == 1 + len(FAULTS), "two cases have one name"
assert len({case.slug.lower() for case in CASES.values()}) == len(CASES), "two cases have one slug"


BENEATH = frozenset(
    case.name
    for case in (
        *wire.CASES, *body.FRAMING, *body.FLOODS, *body.PACKING, *statuses.BY_NUMBER,
    )
)  # fmt: skip
"""What lies beneath the protocols is one for all of them: looked at through one, and through plain HTTP."""


def played_over(protocol: str) -> list[Case]:
    """The cases of that protocol."""
    mine = [case for case in FAULTS if case.over(protocol) is not None]
    if protocol in ("openai-chat", "http"):
        return mine
    return [case for case in mine if case.name not in BENEATH]
