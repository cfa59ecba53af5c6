"""The network: names, sockets, TLS and HTTP/1.1 of our own, behind HTTPX's transport interface.

`open_transports` is what the composition root calls; protocols get a `Wire` (monitor.core.wire)
from it. A probe travels resolver → sockets → tls → http1, and `connection` drives it.
"""
