"""The network: names, sockets, proxies, TLS and HTTP/1.1 of our own, behind HTTPX's transport interface.

`open_transports` is what the composition root calls; protocols get a `Wire` (monitor.core.wire)
from it. A probe travels resolver → sockets → proxy → tls → http1, and `connection` drives it. Only
where somebody asks for HTTP/2 it is HTTPX's own transport that does (`http2`).
"""
