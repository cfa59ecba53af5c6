"""What stands in a certificate, from its bytes: whose it is, by whom, for what names and when.

Python's own reader gives a certificate only once it was verified. The one that was refused is the
one that people want to know about, so this reads the few fields that tell why.
"""

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from monitor.core.observation import clean
from monitor.core.wire import Certificate

_SEQUENCE, _SET, _OID, _OCTETS = 0x30, 0x31, 0x06, 0x04
_VERSION, _EXTENSIONS = 0xA0, 0xA3
_UTC_TIME, _LONG_TIME = 0x17, 0x18
_DNS_NAME, _IP_ADDRESS = 0x82, 0x87
_WIDE_TEXT = 0x1E
_ALTERNATIVE_NAMES = b"\x55\x1d\x11"
_ATTRIBUTES = {
    b"\x55\x04\x06": "C",
    b"\x55\x04\x08": "ST",
    b"\x55\x04\x07": "L",
    b"\x55\x04\x0a": "O",
    b"\x55\x04\x0b": "OU",
    b"\x55\x04\x03": "CN",
}
_LONGEST_NAME = 200
_NAMES_SHOWN = 4
_TLS_1_3 = 0x0304
_OVER_OR_NOT_YET = frozenset({9, 10})
_FOR_ANOTHER = frozenset({62, 64})
_BY_A_STRANGER = frozenset({19, 20, 21})
"""What OpenSSL's verification codes (X509_V_ERR_…) are about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Paper:
    """One certificate. Its texts are the issuer's, cleaned."""

    subject: str
    """As people write it: `C=US, O=Acme, CN=acme.example`."""
    issuer: str
    begins: datetime
    ends: datetime
    names: tuple[str, ...]
    """What it is good for: names and addresses."""

    @property
    def called(self) -> str:
        """The shortest name it goes by."""
        common = self.subject.rpartition("CN=")[2]
        return common or (self.names[0] if self.names else "a certificate without a name")


def read(data: bytes) -> Paper:
    """The certificate in these bytes (DER). Raises ValueError if they are none."""
    try:
        return _paper(data)
    except (IndexError, StopIteration, OverflowError) as exc:
        raise ValueError("no certificate") from exc


def shown(message: bytes, version: int) -> list[Paper]:
    """The certificates of a handshake message, the server's own first. What cannot be read is left out."""
    papers = []
    for data in _entries(message[4:], version):
        try:
            papers.append(read(data))
        except ValueError:
            continue
    return papers


def facts(chain: list[Paper], version: str, now: datetime) -> Certificate:
    """What is told of a verified chain, the server's own certificate first; at least that one."""
    first = min(chain, key=lambda paper: paper.ends)
    return Certificate(
        days=(first.ends - now).total_seconds() / 86_400,
        first=first.called,
        issuer=chain[0].issuer,
        version=version,
    )


def particulars(code: int, sent: Sequence[Paper], now: datetime) -> str:
    """What there is to say to a refusal with that code of OpenSSL: which, since when, by or for whom.

    `sent` begins with the server's own certificate. Empty where there is no more to say.
    """
    own = sent[0]
    if code in _OVER_OR_NOT_YET:
        wrong = next((paper for paper in sent if not paper.begins <= now <= paper.ends), None)
        if wrong is None:
            # Not one that was sent, so one of those that this machine trusts.
            return f"the certificate of its issuer, {sent[-1].issuer}"
        since = f"since {_day(wrong.ends)}" if wrong.ends < now else f"until {_day(wrong.begins)}"
        return since if wrong is own else f"the intermediate {wrong.called}, {since}"
    if code in _FOR_ANOTHER:
        names = own.names[:_NAMES_SHOWN]
        more = f" and {len(own.names) - len(names)} more" if len(own.names) > len(names) else ""
        return f"it is for {', '.join(names) or own.called}{more}"
    if code in _BY_A_STRANGER:
        alone = (
            "; no intermediate certificate came with it: does the server lack it?" if len(sent) == 1 else ""
        )
        return f"{sent[-1].issuer}{alone}"
    return ""


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _entries(data: bytes, version: int) -> Iterator[bytes]:
    """RFC 8446, 4.4.2, and RFC 5246, 7.4.2, which has neither context nor extensions."""
    at = 1 + data[0] if version >= _TLS_1_3 and data else 0
    at += 3
    while at + 3 <= len(data):
        size = int.from_bytes(data[at : at + 3], "big")
        yield data[at + 3 : at + 3 + size]
        at += 3 + size
        if version >= _TLS_1_3:
            at += 2 + int.from_bytes(data[at : at + 2], "big")


def _paper(data: bytes) -> Paper:
    (_, whole), *_ = _items(data)
    (_, signed), *_ = _items(whole)
    fields = [field for field in _items(signed) if field[0] != _VERSION]
    _, _, (_, issuer), (_, validity), (_, subject) = fields[:5]
    begins, ends = (_moment(tag, value) for tag, value in _items(validity))
    extensions = next((value for tag, value in fields if tag == _EXTENSIONS), b"")
    return Paper(
        subject=_named(subject),
        issuer=_named(issuer),
        begins=begins,
        ends=ends,
        names=tuple(_names(extensions)),
    )


def _items(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The values that stand side by side: their tags and what is in them."""
    at = 0
    while at < len(data):
        tag, size = data[at], data[at + 1]
        at += 2
        if size & 0x80:
            count = size & 0x7F
            size = int.from_bytes(data[at : at + count], "big")
            at += count
        if at + size > len(data):
            raise ValueError("cut off")
        yield tag, data[at : at + size]
        at += size


def _moment(tag: int, value: bytes) -> datetime:
    text = value.decode("ascii")
    if tag == _UTC_TIME:
        text = ("19" if text[:2] >= "50" else "20") + text  # RFC 5280, 4.1.2.5.1
    elif tag != _LONG_TIME:
        raise ValueError("no time")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


def _named(data: bytes) -> str:
    parts = []
    for tag, group in _items(data):
        for _, pair in _items(group) if tag == _SET else ():
            (_, kind), (form, value) = _items(pair)
            if kind in _ATTRIBUTES:
                encoding = "utf-16-be" if form == _WIDE_TEXT else "utf-8"
                parts.append(f"{_ATTRIBUTES[kind]}={value.decode(encoding, 'replace')}")
    return clean(", ".join(parts), _LONGEST_NAME)


def _names(extensions: bytes) -> Iterator[str]:
    for _, listed in _items(extensions):
        for _, extension in _items(listed):
            (_, kind), *_, (_, value) = _items(extension)
            if kind == _ALTERNATIVE_NAMES:
                yield from _alternatives(value)


def _alternatives(value: bytes) -> Iterator[str]:
    for _, listed in _items(value):
        for tag, name in _items(listed):
            if tag == _DNS_NAME:
                yield clean(name.decode("ascii", "replace"), _LONGEST_NAME)
            elif tag == _IP_ADDRESS and len(name) in (4, 16):
                yield str(ipaddress.ip_address(name))
