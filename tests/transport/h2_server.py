"""A server of HTTP/2 for tests: a script, played over one TLS connection."""

import ssl
from collections.abc import Callable

import h2.config
import h2.connection
import h2.events

from tests.transport.servers import Certificates, Peer, Script


class Stream:
    """The one request of a connection, and what is said to it."""

    def __init__(self, peer: Peer, talk: h2.connection.H2Connection) -> None:
        self.peer = peer
        self.talk = talk
        self.id = 0
        self.headers: dict[str, str] = {}
        self.body = b""

    def answer(self, *fields: tuple[str, str], status: str = "200", end: bool = False) -> None:
        self.talk.send_headers(self.id, [(":status", status), *fields], end_stream=end)
        self.flush()

    def data(self, data: bytes, *, end: bool = False) -> None:
        self.talk.send_data(self.id, data, end_stream=end)
        self.flush()

    def flush(self) -> None:
        self.peer.send(self.talk.data_to_send())


def serves(answer: Callable[[Stream], None]) -> Script:
    """Read one request whole, then do that; afterwards wait for the client to go."""

    def script(peer: Peer) -> None:
        talk = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        )
        talk.initiate_connection()
        stream = Stream(peer, talk)
        stream.flush()
        _request(stream)
        answer(stream)
        peer.until_closed()

    return script


def _request(stream: Stream) -> None:
    while True:
        data = stream.peer.sock.recv(65536)
        if not data:
            raise ConnectionError("the client went away")
        for event in stream.talk.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                stream.id = event.stream_id
                stream.headers = dict(event.headers)
            elif isinstance(event, h2.events.DataReceived):
                stream.body += event.data
                stream.talk.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                stream.flush()
                return
        stream.flush()


def context(certificates: Certificates, *protocols: str) -> ssl.SSLContext:
    """The good certificate, and what is chosen of HTTP."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(certificates.authority.with_name("good.pem"))
    made.set_alpn_protocols(list(protocols))
    return made
