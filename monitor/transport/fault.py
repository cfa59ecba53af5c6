"""How the network says no, in our words.

What went wrong is decided by errno and phase alone. An exception's own text is never used:
it differs between libraries and may quote what must not be shown.
"""

import errno

from monitor.core.wire import Fault, FaultKind, Phase

_KINDS = {
    errno.ECONNREFUSED: FaultKind.REFUSED,
    errno.EHOSTUNREACH: FaultKind.UNREACHABLE,
    errno.EHOSTDOWN: FaultKind.UNREACHABLE,
    # An ICMP answer from the far side that says no to the protocol, not to the port.
    errno.ENOPROTOOPT: FaultKind.UNREACHABLE,
    errno.EPROTO: FaultKind.UNREACHABLE,
    errno.ECONNRESET: FaultKind.RESET,
    errno.ECONNABORTED: FaultKind.RESET,
    errno.EPIPE: FaultKind.RESET,
    errno.ETIMEDOUT: FaultKind.TIMEOUT,
}

_TOLD = {
    # What routers on the way say by ICMP. From a call that never left this machine, they mean us.
    errno.ENETUNREACH: FaultKind.UNREACHABLE,
    errno.ENONET: FaultKind.UNREACHABLE,
    errno.EACCES: FaultKind.UNREACHABLE,
    errno.EOPNOTSUPP: FaultKind.UNREACHABLE,
}

_OURS = {
    errno.EHOSTUNREACH: "a rule of its own says that there is no way",
    errno.ENETUNREACH: "it has no route there",
    errno.ENETDOWN: "its network is down",
    errno.EADDRNOTAVAIL: "no local address or port is left",
    errno.EAFNOSUPPORT: "it has no such address family",
    errno.EMFILE: "too many files are open",
    errno.ENFILE: "too many files are open on this machine",
    errno.ENOMEM: "memory is short",
    errno.ENOBUFS: "network memory is short",
    errno.EPERM: "a local rule forbids it",
    errno.EACCES: "a local rule forbids it",
}

_DURING = {
    Phase.DNS: "while its name was looked up",
    Phase.CONNECT: "while connecting",
    Phase.TLS: "during the TLS handshake",
    Phase.REQUEST: "before it had the whole request",
    Phase.HEADERS: "before it answered",
    Phase.BODY: "in the middle of its answer",
}


def kind_of(code: int | None, *, told: bool = False) -> FaultKind:
    """What an errno of a socket call means. One that we do not know is ours: it never makes an outage.

    `told`: it came for something that was on its way already, so the network may have said it.
    """
    if code is None:
        return FaultKind.LOCAL
    return _KINDS.get(code) or (_TOLD.get(code) if told else None) or FaultKind.LOCAL


def never_sent(code: int | None, peer: str) -> Fault:
    """The fault behind an errno of connecting that came at once: this machine found no way to `peer`."""
    if code == errno.EHOSTUNREACH:
        return Fault(FaultKind.LOCAL, Phase.CONNECT, _local(code, peer), code)
    return broken(code, Phase.CONNECT, peer)


def broken(code: int | None, phase: Phase, peer: str, *, told: bool = False) -> Fault:
    """The fault behind an errno on the way to `peer` (`192.0.2.1 port 443`); `told` as in `kind_of`."""
    kind = kind_of(code, told=told)
    if kind is FaultKind.LOCAL:
        text = _local(code, peer)
    elif kind is FaultKind.REFUSED:
        text = f"{peer} refuses connections"
    elif kind is FaultKind.UNREACHABLE:
        text = f"{peer} cannot be reached: the network says so"
    elif kind is FaultKind.TIMEOUT:
        text = f"{peer} stopped answering {_DURING[phase]}"
    else:
        text = f"{peer} broke the connection off {_DURING[phase]}"
    return Fault(kind, phase, text, code)


def _local(code: int | None, peer: str) -> str:
    reason = "the system call failed" if code is None else _OURS.get(code) or errno.errorcode.get(code)
    return f"this machine cannot talk to {peer}: {reason or f'error {code}'}"


def closed(phase: Phase, peer: str) -> Fault:
    """The fault of an end that came before the message was complete."""
    return Fault(FaultKind.CLOSED, phase, f"{peer} closed the connection {_DURING[phase]}")


def late(phase: Phase, name: str, peer: str, length: float) -> Fault:
    """The fault of a limit of `length` seconds that passed; `name` is what was to be looked up."""
    within = f"within {seconds(length)}"
    text = {
        Phase.DNS: f"the name {name} was not resolved {within}",
        Phase.CONNECT: f"no connection to {peer} {within}",
        Phase.TLS: f"no TLS handshake with {peer} {within}",
        Phase.REQUEST: f"{peer} did not take the request {within}",
        Phase.HEADERS: f"no answer from {peer} {within}",
        Phase.BODY: f"the answer of {peer} was not complete {within}",
    }[phase]
    return Fault(FaultKind.TIMEOUT, phase, text)


def silent(peer: str) -> Fault:
    """The limit of whoever reads passed; only the reader knows which one that is."""
    return Fault(FaultKind.TIMEOUT, Phase.BODY, f"nothing more came from {peer} in time")


def seconds(length: float) -> str:
    """`10 s`, `2.5 s`, `300 ms`: a limit as people write it."""
    return f"{length:.4g} s" if length >= 1.0 else f"{length * 1000.0:.3g} ms"
