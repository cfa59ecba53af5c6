"""The real daemon watches a port, a certificate and a name, good ones and bad ones."""

import json
import subprocess
import sys
from pathlib import Path

from tests.support.daemon import TOP, Home
from tests.support.names import Told, name_server
from tests.transport.servers import Peer, Server, make_certificates


def _greets(peer: Peer) -> None:
    peer.send(b"SSH-2.0-toy\r\n")
    peer.until_closed()


def _listens(peer: Peer) -> None:
    peer.until_closed()


def _provider(*endpoints: str) -> str:
    head = '[provider.own]\ninterval = "1s"\ntimeout = "900ms"\nca_file = "certificates/authority.pem"\n'
    head += 'headers = { X-Trace = "1" }\n'
    return "\n".join((head, *(f"[[provider.own.endpoints]]\n{endpoint}" for endpoint in endpoints)))


def _probe(home: Home, endpoint: str) -> tuple[int, dict[str, object]]:
    command = [sys.executable, "-m", "monitor", "probe", endpoint, "--json", "--config", str(home.config)]
    run = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=False)
    assert run.stderr == ""
    return run.returncode, json.loads(run.stdout)


def test_each_is_watched_stored_and_judged(sqlite_home: Home) -> None:
    home = sqlite_home
    folder: Path = home.folder / "certificates"
    folder.mkdir()
    certificates = make_certificates(folder)
    port = Server(_greets)
    good = Server(_listens, context=certificates.good)
    short = Server(_listens, context=certificates.chain)
    expired = Server(_listens, context=certificates.expired)
    try:
        with name_server() as names:
            names.names["acme.test"] = Told([("A", "192.0.2.1")])
            asked = f'protocol = "dns"\nserver = "{names.address}"\n'
            tls = 'protocol = "tls"\n'
            home.configure(
                _provider(
                    f'protocol = "tcp"\nname = "ssh"\naddress = "127.0.0.1:{port.port}"\n'
                    'expect = { banner_contains = "SSH-2.0" }',
                    f'protocol = "tcp"\nname = "smtp"\naddress = "127.0.0.1:{port.port}"\n'
                    'expect = { banner_contains = "220 " }',
                    f'{tls}name = "good"\naddress = "127.0.0.1:{good.port}"',
                    f'{tls}name = "short"\naddress = "127.0.0.1:{short.port}"',
                    f'{tls}name = "expired"\naddress = "127.0.0.1:{expired.port}"\nserver_name = "localhost"',
                    f'{asked}name = "acme.test"\nexpect = {{ answer = "192.0.2.1" }}',
                    f'{asked}name = "other address"\nquery = "acme.test"\nexpect = {{ answer = "192.0.2.9" }}',
                    f'{asked}name = "gone.test"',
                )
            )
            wanted = {
                "own/ssh": "ok",
                "own/smtp": "assertion_failed",
                "own/good": "ok",
                "own/short": "certificate_expiring",
                "own/expired": "tls_failure",
                "own/acme.test": "ok",
                "own/other-address": "assertion_failed",
                "own/gone.test": "dns_failure",
            }
            daemon = home.ready()
            found = {
                one: daemon.wait("probe.stored", endpoint=one, outcome=which) for one, which in wanted.items()
            }
            assert daemon.stop()[0] == 0
            status, told = _probe(home, "own/acme.test")
            assert (status, told["answers"], told["outcome"]) == (0, ["192.0.2.1"], "ok")
            status, told = _probe(home, "own/short")
            assert (status, told["issuer"], told["tls_version"]) == (1, "CN=Between chain", "TLSv1.3")
            assert _probe(home, "own/expired")[0] == 2
    finally:
        for server in (port, good, short, expired):
            server.close()
    assert {one: seen["outcome"] for one, seen in found.items()} == wanted
