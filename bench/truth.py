"""The server of truth.c in a process of its own, and what it wrote down."""

import datetime as dt
import ipaddress
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.ports import unused_port

SOURCE = Path(__file__).with_name("truth.c")
TRIPLE, TOGETHER, SPLIT, NAGLE, PLAIN = 1, 2, 4, 8, 16


@dataclass(frozen=True, slots=True)
class Truth:
    """One request, in seconds of the monotonic clock; pairs are the moments before and after a send."""

    asked: float
    rtt_s: float
    first: tuple[float, float]
    last: tuple[float, float]
    end: tuple[float, float]
    tokens: tuple[float, ...]
    """After the send that completed each."""

    def ttft_ms(self) -> tuple[float, float]:
        """The interval in which the time to first token lies, from the request's arrival."""
        return (self.first[0] - self.asked) * 1000.0, (self.first[1] - self.asked) * 1000.0


@dataclass(frozen=True, slots=True)
class Server:
    port: int
    tls_port: int
    authority: Path
    log: Path

    def url(
        self, name: str, *, first_ms: float, tokens: int, gap_ms: float, end_ms: float, flags: int
    ) -> str:
        """Without TLS; put the other port into it for TLS."""
        times = f"{first_ms * 1000:.0f}/{tokens}/{gap_ms * 1000:.0f}/{end_ms * 1000:.0f}"
        return f"http://127.0.0.1:{self.port}/{name}/{times}/{flags}/v1"

    def secure(self, url: str) -> str:
        return url.replace(f"http://127.0.0.1:{self.port}", f"https://127.0.0.1:{self.tls_port}")

    def said(self) -> dict[str, list[Truth]]:
        """What was written down since the last time, by name, in the order of the requests."""
        text = self.log.read_text()
        os.truncate(self.log, 0)
        found: dict[str, list[Truth]] = {}
        for line in text.splitlines():
            name, truth = _truth(line.lstrip("\0"))
            found.setdefault(name, []).append(truth)
        for list_ in found.values():
            list_.sort(key=lambda truth: truth.asked)
        return found


def _truth(line: str) -> tuple[str, Truth]:
    name, asked, rtt, _, _, *sends, _count, tokens = line.split()
    moments = [int(moment) / 1e9 for moment in sends]
    return name, Truth(
        asked=int(asked) / 1e9,
        rtt_s=int(rtt) / 1e6,
        first=(moments[0], moments[1]),
        last=(moments[2], moments[3]),
        end=(moments[4], moments[5]),
        tokens=tuple(int(moment) / 1e9 for moment in tokens.split(",")),
    )


@contextmanager
def server(folder: Path, cpu: int | None) -> Iterator[Server]:
    """Compiled and running, on that core only."""
    program = folder / "truth"
    subprocess.run(
        ["gcc", "-O2", "-Wall", "-o", program, SOURCE, "-lssl", "-lcrypto", "-lpthread"], check=True
    )
    certificate = make_certificate(folder)
    at = Server(unused_port(), unused_port(), certificate, folder / "truth.log")
    words = [program, str(at.port), str(at.tls_port), at.log, certificate]
    pin = [] if cpu is None else ["taskset", "-c", str(cpu)]
    process = subprocess.Popen([*pin, *words], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        time.sleep(0.1)
        yield at
    finally:
        process.kill()
        process.wait()


def make_certificate(folder: Path) -> Path:
    """For 127.0.0.1, signed by itself: certificate and key in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "truth")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=30))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "truth.pem"
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return path
