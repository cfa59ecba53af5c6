"""TLS in memory: bytes in, bytes out. The socket stays ours, so that a read keeps its stamp."""

import asyncio
import functools
import ssl
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monitor.core.instant import DAY, SECOND, Instant, as_datetime
from monitor.core.wire import Certificate, Fault, FaultKind, Phase
from monitor.transport.certificate import Paper, facts, particulars, read, shown
from monitor.transport.patience import Patience

_PIECE = 64 * 1024
_HEAD = 5
"""Bytes of a record before what it holds: its kind, its version, and how long it is."""
_LEAST = 64
"""Records may be of one byte each, to keep us busy; those of a certificate or a signature are longer."""
_HANDSHAKE, _CERTIFICATE_MESSAGE = 22, 11

_WRONG_CERTIFICATE = {
    # The verification codes of OpenSSL (X509_V_ERR_…), which Python hands on as numbers.
    9: "is not valid yet",
    10: "has expired",
    18: "is self-signed",
    19: "was issued by somebody this machine does not trust (self-signed root)",
    20: "was issued by somebody this machine does not trust",
    21: "was issued by somebody this machine does not trust",
    23: "was revoked",
    26: "was not made for a server",
    62: "was made for another host",
    64: "was made for another address",
    66: "has a key that is too weak",
    67: "was issued with a key that is too weak",
    68: "was signed by a method that is too weak",
}


@functools.cache
def context_for(ca_file: Path | None) -> ssl.SSLContext:
    """The one context for these authorities: the system's, and those of `ca_file` beside them.

    Building it costs 85 ms, so there is one per file for the life of the process.
    Raises OSError where the file cannot be read, ValueError where it holds no certificate.
    """
    context = _context(ca_file)
    context.set_alpn_protocols(["http/1.1"])
    return context


@functools.cache
def http2_context_for(ca_file: Path | None) -> ssl.SSLContext:
    """The same for the stock transport, which sets of its own accord what it offers in it."""
    return _context(ca_file)


@functools.cache
def bare_context_for(ca_file: Path | None) -> ssl.SSLContext:
    """The same for servers of any kind, which may know none of the protocols that HTTP offers.

    Its sessions keep the certificates that a server sent, so that a refusal can say what was wrong.
    """
    context = _context(ca_file)
    context.sslobject_class = _Keeping
    context._msg_callback = _keep  # type: ignore[attr-defined]  # noqa: SLF001  # there is no other way to it
    return context


class _Keeping(ssl.SSLObject):
    """Keeps the message in which the server showed its certificates."""

    message = b""
    message_version = 0


def _keep(session: object, direction: str, version: int, *message: Any) -> None:
    """Called for every message of a handshake, before anything is verified."""
    content, kind, data = message
    if direction == "read" and content == _HANDSHAKE and kind == _CERTIFICATE_MESSAGE:
        assert isinstance(session, _Keeping)
        session.message, session.message_version = data, version


def _context(ca_file: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(cafile=ca_file)
        except ssl.SSLError:
            raise ValueError(f"{ca_file} holds no certificate in PEM form") from None
    return context


class Session:
    """One TLS session of one connection."""

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        self._in = ssl.MemoryBIO()
        self._out = ssl.MemoryBIO()
        # A trailing dot belongs to the lookup, not to the name in a certificate.
        self._tls = context.wrap_bio(self._in, self._out, server_hostname=host.rstrip("."))
        self._certificate: Mapping[str, object] | None = None
        self.ended = False
        """The other side said goodbye."""
        self.error: ssl.SSLError | None = None
        """What broke the session while it was read, behind the text that was still whole."""
        self._records = _Records()
        self._shaking = True
        self._unread = bytearray()
        """Came during the handshake, and OpenSSL has not seen it yet."""
        self._missing = 0
        """Bytes of the record of which it has seen the beginning."""

    @property
    def settled(self) -> bool:
        """The last bytes that came completed a record, and it was not the goodbye."""
        return self._records.complete and not self.ended

    @property
    def unread(self) -> bool:
        """There is more for `shake` than the step it has just done."""
        return len(self._unread) >= (1 if self._missing else _HEAD)

    def shake(self) -> bool:
        """One step of the handshake; True when it is done. Raises ssl.SSLError.

        A step takes in one record: a certificate, a signature and the keys together would hold the
        loop up for a millisecond. Whatever comes of it, `outgoing` is to be sent: an alert tells the
        server why.
        """
        size = self._missing or _step(self._unread)
        self._missing = max(0, size - len(self._unread))
        self._in.write(self._unread[:size])
        del self._unread[:size]
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        # Now, for a session that breaks later no longer tells.
        self._certificate = self._tls.getpeercert()
        self._shaking = False
        self._in.write(self._unread)
        self._unread.clear()
        return True

    def outgoing(self) -> bytes:
        """What is to be sent now, if anything."""
        return self._out.read() if self._out.pending else b""

    def put(self, data: memoryview) -> None:
        """Take bytes that came from the network."""
        self._records.follow(data)
        if self._shaking:
            self._unread += data
        else:
            self._in.write(data)

    def seal(self, data: bytes) -> bytes:
        """The bytes to send for this plain text."""
        written = self._tls.write(data)
        while written < len(data):
            written += self._tls.write(memoryview(data)[written:])
        return self._out.read()

    def open(self, data: memoryview) -> bytes:
        """All plain text that can be had, now that these bytes came; `ended` and `error` tell of the rest."""
        self.put(data)
        pieces = []
        # Asking in vain raises an exception, which costs more than reading a record.
        while self._in.pending or self._tls.pending():
            try:
                piece = self._tls.read(_PIECE)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLError as exc:
                self.error = exc.with_traceback(None)  # which would lead back to us
                break
            if not piece:
                self.ended = True
                break
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def certificate_days(self, now: Instant) -> float | None:
        """Days until the server's certificate expires; negative once it has."""
        return days_left(self._certificate, now)

    def certificate(self, now: Instant) -> Certificate:
        """What there is to tell of the chain that was verified. Only while the session stands."""
        # `SSLObject.get_verified_chain` does just that, but only from Python 3.13 on.
        chain = self._tls._sslobj.get_verified_chain()  # type: ignore[attr-defined]  # noqa: SLF001
        papers = [read(ssl.PEM_cert_to_DER_cert(one.public_bytes())) for one in chain]
        return facts(papers, self._tls.version() or "", as_datetime(now))

    def sent(self) -> list[Paper]:
        """The certificates that the server sent, its own first; none where nobody keeps them."""
        tls = self._tls
        return shown(tls.message, tls.message_version) if isinstance(tls, _Keeping) else []


def days_left(certificate: Mapping[str, object] | None, now: Instant) -> float | None:
    """Days until that certificate expires; negative once it has, None without one."""
    if not certificate:
        return None
    expires = ssl.cert_time_to_seconds(str(certificate["notAfter"]))
    return (expires * SECOND - now) / DAY


def _step(data: bytearray) -> int:
    """The size of the first record with its head, or of several tiny ones, as far as their heads are there.

    It may be more than there is.
    """
    size = 0
    while size < _LEAST and size + _HEAD <= len(data):
        size += _HEAD + int.from_bytes(data[size + _HEAD - 2 : size + _HEAD], "big")
    return size


class _Records:
    """Follows where the records of TLS end: a head of five bytes, the last two of which count the rest."""

    __slots__ = ("_head", "_left")

    def __init__(self) -> None:
        self._head = b""
        self._left = 0

    @property
    def complete(self) -> bool:
        """No record is under way."""
        return not self._left and not self._head

    def follow(self, data: memoryview) -> None:
        at, size = 0, len(data)
        while at < size:
            if self._left:
                step = min(self._left, size - at)
                self._left -= step
                at += step
                continue
            step = _HEAD - len(self._head)
            self._head += bytes(data[at : at + step])
            at += step
            if len(self._head) == _HEAD:
                self._left = int.from_bytes(self._head[3:], "big")
                self._head = b""


def refusal(
    error: ssl.SSLError, host: str, phase: Phase, sent: Sequence[Paper] = (), now: Instant | None = None
) -> Fault:
    """What a failure of TLS means, by its code and never by its text.

    `sent` is what the server showed, its own certificate first, where that is known.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        what = _WRONG_CERTIFICATE.get(error.verify_code)
        text = f"the certificate of {host} {what or f'is not accepted (code {error.verify_code})'}"
        more = particulars(error.verify_code, sent, as_datetime(now)) if sent and now else ""
        return Fault(FaultKind.CERTIFICATE, phase, f"{text}: {more}" if more else text)
    if phase is Phase.TLS:
        return Fault(FaultKind.TLS, phase, f"no TLS handshake with {host}{_reason(error)}")
    return Fault(FaultKind.TLS, phase, f"the TLS connection to {host} broke{_reason(error)}")


_REASONS = {
    # OpenSSL's own words for what broke a handshake; an alert is what the other side says.
    "WRONG_VERSION_NUMBER": "what answers there does not speak TLS",
    "UNSUPPORTED_PROTOCOL": "it speaks only versions of TLS that are too old",
    "TLSV1_ALERT_PROTOCOL_VERSION": "it refuses the versions of TLS that we speak, 1.2 and 1.3",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "it refused the handshake by an alert",
    "TLSV1_UNRECOGNIZED_NAME": "it knows no such server name",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "it wants a certificate of ours",
}


def _reason(error: ssl.SSLError) -> str:
    """What it means where we know, and OpenSSL's name for it: a fixed word of the library, not a message."""
    if not error.reason:
        return ""
    known = _REASONS.get(error.reason)
    return f"{f': {known}' if known else ''} ({error.reason.replace('_', ' ').lower()})"


class Turns:
    """At most so many handshakes at once: one holds the loop for 1.7 ms, and each makes the others late.

    Whoever keeps a turn for longer than `hold_s` goes on without it, so that servers which
    accept and then say nothing cannot keep the others waiting.
    """

    def __init__(self, at_once: int = 16, hold_s: float = 0.25) -> None:
        self._free = at_once
        self._hold_s = hold_s
        self._queue: deque[asyncio.Future[None]] = deque()

    async def take(self, patience: Patience, until: float) -> "Turn":
        """Wait for a turn. Raises TimeUp if none is to be had by `until`."""
        loop = asyncio.get_running_loop()
        if self._free:
            self._free -= 1
            return Turn(self, loop, self._hold_s)
        granted: asyncio.Future[None] = loop.create_future()
        self._queue.append(granted)
        try:
            await patience.wait(granted, until)
        except BaseException:
            # Granted and cancelled in the same breath: pass it on.
            if granted.done() and not granted.cancelled() and granted.exception() is None:
                self.give_back()
            raise
        return Turn(self, loop, self._hold_s)

    def give_back(self) -> None:
        """Pass a turn on to whoever has waited longest."""
        while self._queue:
            waiting = self._queue.popleft()
            if not waiting.done():
                waiting.set_result(None)
                return
        self._free += 1


class Turn:
    """The right to shake hands. `end` it; after a while it ends by itself."""

    def __init__(self, turns: Turns, loop: asyncio.AbstractEventLoop, hold_s: float) -> None:
        self._turns: Turns | None = turns
        self._timer = loop.call_later(hold_s, self.end)

    def end(self) -> None:
        """Give it back; a second time does nothing."""
        if self._turns is not None:
            self._timer.cancel()
            self._turns.give_back()
            self._turns = None
