"""What stands in a certificate, read from its bytes."""

import datetime as dt
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from monitor.transport.certificate import Paper, particulars, read, shown

NOW = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
KEY = ec.generate_private_key(ec.SECP256R1())


def made(begins: dt.datetime, ends: dt.datetime, organisation: str = "Acme", names: int = 2) -> bytes:
    parts = [
        x509.NameAttribute(x509.NameOID.COUNTRY_NAME, "DE"),
        x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, organisation),
        x509.NameAttribute(x509.NameOID.COMMON_NAME, "acme.example"),
    ]
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name(parts))
        .issuer_name(x509.Name(parts[:2]))
        .public_key(KEY.public_key())
        .serial_number(1 << 100)
        .not_valid_before(begins)
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(f"{n}.example") for n in range(names)]), critical=False
        )
        .sign(KEY, hashes.SHA256())
        .public_bytes(serialization.Encoding.DER)
    )


GOOD = made(NOW - dt.timedelta(days=1), NOW + dt.timedelta(days=30))


def paper(begins: int, ends: int, name: str = "CN=acme.example") -> Paper:
    day = dt.timedelta(days=1)
    return Paper(subject=name, issuer="O=Acme", begins=NOW + begins * day, ends=NOW + ends * day, names=())


def test_its_names_and_times_are_read() -> None:
    found = read(GOOD)
    assert found.subject == "C=DE, O=Acme, CN=acme.example"
    assert found.issuer == "C=DE, O=Acme"
    assert found.called == "acme.example"
    assert found.names == ("0.example", "1.example")
    assert (found.begins, found.ends) == (NOW - dt.timedelta(days=1), NOW + dt.timedelta(days=30))


@pytest.mark.parametrize("year", [1960, 1999, 2000, 2049, 2050, 9999])
def test_the_year_has_two_digits_or_four(year: int) -> None:
    ends = dt.datetime(year, 12, 31, 23, 59, 59, tzinfo=dt.UTC)
    assert read(made(ends - dt.timedelta(days=300), ends)).ends == ends


def test_names_are_cleaned() -> None:
    found = read(made(NOW, NOW + dt.timedelta(days=1), organisation="Gr\u00fcn \x1b[31m\n"))
    assert found.issuer == "C=DE, O=Gr\u00fcn \ufffd[31m "


def test_every_authority_that_this_machine_trusts_can_be_read() -> None:
    for data in ssl.create_default_context().get_ca_certs(binary_form=True):
        assert read(data).begins < read(data).ends


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255), st.integers(0, len(GOOD)))
def test_bytes_that_are_wrong_are_read_or_refused_but_never_crash(place: int, byte: int, size: int) -> None:
    data = bytearray(GOOD)
    data[place] = byte
    for broken in (bytes(data), bytes(data[:size])):
        try:
            found = read(broken)
        except ValueError:
            continue
        assert all(text.isprintable() for text in (found.subject, found.issuer, *found.names))


@given(st.binary(max_size=200), st.sampled_from([0x0303, 0x0304]))
def test_a_message_of_noise_shows_nothing(data: bytes, version: int) -> None:
    assert all(isinstance(one, Paper) for one in shown(data, version))


def test_the_certificates_of_a_message_are_taken_apart() -> None:
    entry = len(GOOD).to_bytes(3, "big") + GOOD
    assert len(shown(b"\x0b\0\0\0" + b"\0\0\0" + entry * 2, 0x0303)) == 2
    assert len(shown(b"\x0b\0\0\0" + b"\0" + b"\0\0\0" + (entry + b"\0\x02ab") * 2, 0x0304)) == 2


@pytest.mark.parametrize(
    ("code", "sent", "said"),
    [
        (10, [paper(-9, -2)], "since 2026-11-20 12:00 UTC"),
        (9, [paper(2, 9)], "until 2026-11-24 12:00 UTC"),
        (10, [paper(-9, 9), paper(-9, -1, "CN=Between")], "the intermediate Between, since 2026-11-21 12:00 UTC"),
        (10, [paper(-9, 9)], "the certificate of its issuer, O=Acme"),
        (62, [paper(-9, 9)], "it is for acme.example"),
        (62, [read(made(NOW, NOW + dt.timedelta(days=1), names=6))],
         "it is for 0.example, 1.example, 2.example, 3.example and 2 more"),
        (20, [paper(-9, 9), paper(-9, 9)], "O=Acme"),
        (18, [paper(-9, 9)], ""),
    ],
)  # fmt: skip
def test_what_helps_is_told(code: int, sent: list[Paper], said: str) -> None:
    assert particulars(code, sent, NOW) == said
