"""A proxy that fails is no outage, and its password stays where it is."""

import base64

from tests.support.daemon import Home, website
from tests.support.simulated import Simulated
from tests.transport.servers import Peer, Server

PASSWORD = "pw-canary-81c3f0"
BASIC = base64.b64encode(f"me:{PASSWORD}".encode()).decode()


def _echoes(peer: Peer) -> None:
    said = peer.request()
    if said.startswith(b"CONNECT"):
        peer.send(b"HTTP/1.1 407 " + said.replace(b"\r\n", b" ") + b"\r\n\r\n" + said)
    else:
        peer.send(b"HTTP/1.1 404 Not Found\r\nContent-Length: %d\r\n\r\n" % len(said) + said)


def test_no_file_of_the_daemon_and_no_line_of_its_log_holds_the_password(
    sqlite_home: Home, simulated: Simulated
) -> None:
    home, proxy = sqlite_home, Server(_echoes)
    try:
        home.configure(
            f'[defaults]\nproxy = "http://me:${{env:PW}}@127.0.0.1:{proxy.port}"\n',
            website("plain", simulated.health_url("acme")),
            website("tunnel", "https://127.0.0.1:9/"),
        )
        daemon = home.ready(env={"PW": PASSWORD})
        echoed = daemon.wait("probe.stored", endpoint="plain/health")
        refused = daemon.wait("probe.stored", endpoint="tunnel/health")
        assert daemon.stop()[0] == 0
    finally:
        proxy.close()
    assert echoed["outcome"] == "assertion_failed"
    assert refused["outcome"] == "auth_failed"
    kept = b"".join(file.read_bytes() for file in home.folder.rglob("*") if file.is_file())
    said = "".join(str(line) for line in daemon.lines)
    assert b"wants a login" not in kept
    assert b"does not accept our login" in kept
    for secret in (PASSWORD, BASIC):
        assert secret.encode() not in kept
        assert secret not in said
