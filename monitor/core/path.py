"""Whether a failure is the provider's, or only our own way there is broken.

Decided from what looks and canaries showed. Moments of proof are monotonic seconds, so that a
step of the wall clock proves nothing; what is stored and told is in Instants.
"""

import enum
import errno
from dataclasses import dataclass, replace
from datetime import tzinfo
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from monitor.core.alert import Message, clock
from monitor.core.instant import Instant, as_datetime, say
from monitor.core.observation import DETAIL_KEPT, Observation, clean
from monitor.core.outcome import Blame, Outcome
from monitor.core.report import Standing
from monitor.core.verdict import Verdict
from monitor.core.wire import FaultKind, Phase

HELD_S = 3.0
"""An undecided result waits for an answer no longer than this."""
RECENT_S = 1.0
"""An answer that somebody else got proves the way at most so long."""
MARGIN_S = 0.05
SHUT_DOWN_VENDORS = 3
"""Where nobody can be asked, that many vendors must fail at once before it counts as our own trouble."""


class Need(enum.StrEnum):
    """What of ours has to work before a look can be answered."""

    INTERNET = "internet"
    LAN = "lan"
    """The way to private and link-local addresses."""
    NAMES = "names"
    """Name resolution."""


_PRIVATE = tuple(
    map(
        ip_network,
        "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 169.254.0.0/16 100.64.0.0/10 fc00::/7 fe80::/10".split(),
    )
)


@lru_cache(maxsize=4096)
def need_of(addresses: tuple[str, ...]) -> Need | None:
    """What it takes to reach one of these addresses; None for this machine itself, and for none at all.

    Where they differ, the hardest to reach counts. Raises ValueError if one is no address.
    """
    needs = {_need(ip_address(text.partition("%")[0])) for text in addresses}
    return next((need for need in (Need.INTERNET, Need.LAN) if need in needs), None)


def _need(address: IPv4Address | IPv6Address) -> Need | None:
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_loopback or address.is_unspecified:
        return None
    return Need.LAN if any(address in net for net in _PRIVATE) else Need.INTERNET


# What a look shows of the way


_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)
_FIRST = (FaultKind.RESET, FaultKind.CLOSED, FaultKind.TLS)
_SILENCE = (FaultKind.TIMEOUT, FaultKind.UNREACHABLE)


def doubt(seen: Observation, verdict: Verdict, *, worked: bool, usual: Need | None) -> Need | None:
    """What of ours may be behind this failure; None: it is decided already.

    `worked`: the look before it did, or there was none. `usual` is what looks at this endpoint took
    before, None where that is not known. A status, a certificate, a refusal and whatever is not HTTP
    came from the other side, and so did the end of a stream; silence did not, whenever it began.
    """
    fault = seen.fault
    if verdict.blame is not Blame.PROVIDER or fault is None:
        return None
    if fault.phase is Phase.DNS and seen.timeline.peers:
        # A name server of somebody's was what was to be asked, and it may have said no.
        return None if fault.kind is FaultKind.NO_SUCH_NAME else need_of(seen.timeline.peers)
    if fault.phase is Phase.DNS:
        # An address of a family that is switched off was never looked up.
        return None if seen.timeline.dns_s is None else Need.NAMES
    if fault.kind in _SILENCE or (worked and seen.status is None and fault.kind in _FIRST):
        return need_of(seen.timeline.peers) or (None if seen.timeline.peers else usual)
    return None


def suspicion(seen: Observation, verdict: Verdict) -> Need | None:
    """What of ours is worth a question, although the verdict stands: there may be no network."""
    if seen.heard is not None:
        # Nobody was asked: perhaps nobody could reach us.
        return Need.INTERNET if seen.heard.standing is Standing.SILENT else None
    fault = seen.fault
    if verdict.outcome is not Outcome.LOCAL_NETWORK or fault is None or fault.errno in _OF_RESOURCES:
        return None
    if fault.phase is Phase.DNS and not seen.timeline.peers:
        return Need.NAMES
    return need_of(seen.timeline.peers)


def answered_at(seen: Observation, verdict: Verdict, ended: float) -> float | None:
    """When something came from the other side for the last time; None: nothing that we know of."""
    line = seen.timeline
    if verdict.outcome.works or (seen.fault is not None and seen.fault.kind is FaultKind.REFUSED):
        return ended
    if seen.status is None:
        return None
    if seen.fault is None or seen.fault.kind not in _SILENCE:
        return ended
    last_token = line.tokens[-1].at if line.tokens else None
    return max((at for at in (line.headers, line.first_byte, last_token) if at is not None), default=None)


# What is known of the way


@dataclass(frozen=True, slots=True, kw_only=True)
class Glimpse:
    """What the newest look at an endpoint showed of the way. Moments in monotonic seconds."""

    endpoint: str
    vendor: str
    at: Instant
    began: float
    ended: float
    lasts_s: float
    """Until the next look is due; after that it says nothing of the present."""
    need: Need | None
    """What it took; None: nothing but this machine."""
    answered: float | None
    """When something came from the other side for the last time; None: it never did."""
    doubt: Need | None = None
    resolved: bool = False
    """Its name was found."""


@dataclass(frozen=True, slots=True)
class Crowd:
    """Those that wait for the same, lately."""

    failing: int
    all: int
    vendors: int
    """Of those that fail."""

    @property
    def most_fail(self) -> bool:
        """Most of them, and of several vendors: more likely it is us."""
        return self.vendors > 1 and self.failing * 2 > self.all

    @property
    def says_it_is_us(self) -> bool:
        """So many at once that nobody else need be asked."""
        return self.most_fail and self.vendors >= SHUT_DOWN_VENDORS


class Path:
    """What other looks and the canaries have shown of our way out."""

    def __init__(self) -> None:
        self._newest: dict[str, Glimpse] = {}
        self._usual: dict[str, Need] = {}
        self._proven: dict[Need, float] = {}
        self._restored: dict[Need, float] = {}
        self._silent: dict[Need, Instant] = {}

    def note(self, seen: Glimpse) -> None:
        """A look ended."""
        self._newest[seen.endpoint] = seen
        if seen.need is not None:
            self._usual[seen.endpoint] = seen.need
            if seen.answered is not None:
                self.prove(seen.need, seen.answered)
        if seen.resolved:
            # That others find theirs is no proof, for a hosts file may know it: but the silence is broken.
            self._break(Need.NAMES)
        if seen.doubt is not None and self._proven.get(seen.doubt, 0.0) < seen.ended:
            first = self._silent.get(seen.doubt, seen.at)
            self._silent[seen.doubt] = min(first, seen.at)

    def prove(self, need: Need, at: float) -> None:
        """It worked at that moment."""
        self._proven[need] = max(at, self._proven.get(need, at))
        self._break(need)

    def _break(self, need: Need) -> None:
        if self._silent.pop(need, None) is not None:
            still = self.silent(need)
            if still:
                self._silent[need] = min(one.at for one in still)

    def proven(self, seen: Glimpse) -> bool:
        """Somebody else got an answer while this one waited, and lately."""
        if seen.doubt is None or self.crowd(seen).most_fail:
            return False
        since = max(seen.began - MARGIN_S, seen.ended - RECENT_S)
        return self._proven.get(seen.doubt, 0.0) >= since

    def proven_at(self, *needs: Need) -> float | None:
        """When one of them was last seen to work; None: none ever was."""
        return max((self._proven[need] for need in needs if need in self._proven), default=None)

    def proven_after(self, need: Need, moment: float) -> bool:
        """It worked at some time after that moment."""
        return self._proven.get(need, 0.0) > moment

    def usual(self, endpoint: str) -> Need | None:
        """What looks at it took before; None: nothing is known, or nothing."""
        return self._usual.get(endpoint)

    def restored(self, need: Need, at: float) -> None:
        """It works again, after it was lost."""
        self._restored[need] = at

    def was_lost(self, seen: Glimpse) -> bool:
        """What it hangs on was lost for a part of the time in which it waited."""
        since = seen.began if seen.answered is None else max(seen.began, seen.answered)
        return seen.doubt is not None and any(
            self._restored.get(need, since) > since for need in hangs_on(seen.doubt)
        )

    def silent_since(self, need: Need) -> Instant | None:
        """Start of the first look that has hung on it in vain since it last worked; None: there is none."""
        return self._silent.get(need)

    def silent(self, need: Need) -> list[Glimpse]:
        """The newest looks that hang on it in vain."""
        proven = self._proven.get(need, 0.0)
        return [one for one in self._newest.values() if one.doubt is need and one.ended > proven]

    def crowd(self, seen: Glimpse) -> Crowd:
        """How those fare that hang on the same, as of when this look ended."""
        need = seen.doubt
        newest = [one for one in self._newest.values() if seen.ended - one.ended <= one.lasts_s]
        failing = [one for one in newest if one.doubt is need]
        well = [one for one in newest if one.doubt is None and _covers(need, one.need)]
        return Crowd(len(failing), len(failing) + len(well), len({one.vendor for one in failing}))


def _covers(need: Need | None, other: Need | None) -> bool:
    return other is not None and (need is other or need is Need.NAMES)


def hangs_on(need: Need) -> tuple[Need, ...]:
    """That one and what it takes itself: name servers are asked over a network, too."""
    return (need, Need.INTERNET) if need is Need.NAMES else (need,)


# What canaries say


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Of one round of canaries: how many were asked, and what came of it so far."""

    literals: int = 0
    names: int = 0
    gateways: int = 0
    reached: int = 0
    """Literals, names and gateways that answered, if only with a refusal."""
    resolved: int = 0
    """Names."""

    def asked(self, need: Need) -> int:
        """How many could say something of it."""
        return {
            Need.INTERNET: self.literals + self.names,
            Need.NAMES: self.names,
            Need.LAN: self.gateways,
        }[need]

    def says(self, need: Need) -> bool | None:
        """Whether it works; None: nobody could say."""
        if not self.asked(need):
            return None
        return (self.resolved if need is Need.NAMES else self.reached) > 0


def lost(need: Need, usual: Need | None, answers: Answers) -> Need:
    """What is lost where a look hung on `need` in vain: without a network no name is found either."""
    no_network = need is Need.NAMES and usual is not Need.LAN and answers.says(Need.INTERNET) is False
    return Need.INTERNET if no_network else need


_GONE = {
    Need.INTERNET: "The monitor itself has no network",
    Need.LAN: "The monitor itself has no way to its local network",
    Need.NAMES: "The monitor itself cannot resolve any name",
}


CROWD = "Most endpoints of several vendors fell silent at once, so it is the monitor's own network"
"""Why it is our own trouble where there is nobody to ask."""


def reason(need: Need, answers: Answers) -> str:
    """Why we are blind, for a person."""
    asked = answers.asked(need)
    if need is Need.LAN:
        return f"{_GONE[need]}: its gateway does not answer"
    found = "names could be resolved" if need is Need.NAMES else "canaries could be reached"
    return f"{_GONE[need]}: 0 of {asked} {found}"


def ours(verdict: Verdict, why: str) -> Verdict:
    """The same look, now that the failure is known to be ours. `why` says what of ours."""
    detail = clean(f"{why}. What it saw: {verdict.outcome}: {verdict.detail}", DETAIL_KEPT)
    return replace(verdict, outcome=Outcome.LOCAL_NETWORK, detail=detail, retry_after=None)


# The blind record


@dataclass(frozen=True, slots=True, kw_only=True)
class Blind:
    """A stretch of time in which the monitor could not see."""

    started: Instant
    """Start of the first look that nobody answered, or the last proof of the way if that came later."""
    ended: Instant | None
    """None: it lasts."""
    need: Need
    """What was lost first."""
    reason: str


def incident_of(blind: Blind) -> str:
    """`blind-20261121T220500.123456Z`: what its notice refers to."""
    return f"blind-{as_datetime(blind.started):%Y%m%dT%H%M%S.%fZ}"


_WHOSE = (
    "Whose: the monitor itself. What it saw meanwhile counts against nobody; an outage of theirs in that time"
    " may have gone unseen."
)


def notice(blind: Blind, ended: Instant, zone: tzinfo | None) -> Message:
    """What is told once there is a way to tell it."""
    lasted = say(max(0, ended - blind.started))
    return Message(
        f"WAS BLIND: this monitor, for {lasted}",
        (
            f"This monitor could not see from {clock(blind.started, zone)} to {clock(ended, zone)}.",
            f"Why: {blind.reason[0].lower()}{blind.reason[1:]}.",
            _WHOSE,
            "Do: look at this machine's network, or at `canary.addresses` if the network was well.",
        ),
    )
