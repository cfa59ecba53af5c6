"""The other side of the cable: web servers, canaries and a name server, at whatever addresses there are.

`python far.py`, inside a network namespace; says `ready` once it answers.
"""

import asyncio
import struct
from typing import Any

NAME_SERVER = "203.0.113.53"
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(_ANSWER)
        await writer.drain()
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


class NameServer(asyncio.DatagramProtocol):
    """`h20.test` is 203.0.113.20; a name that begins with `hang` is never answered."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        labels, place = [], 12
        while data[place]:
            labels.append(data[place + 1 : place + 1 + data[place]].decode().lower())
            place += 1 + data[place]
        question = data[12 : place + 5]
        (kind,) = struct.unpack("!H", data[place + 1 : place + 3])
        if labels[0].startswith("hang"):
            return
        is_known = labels[0][1:].isdigit() and labels[1:] == ["test"]
        records = b""
        if is_known and kind == 1:
            records = struct.pack("!HHHIH4B", 0xC00C, 1, 1, 1, 4, 203, 0, 113, int(labels[0][1:]))
        flags = 0x8180 if is_known else 0x8183
        head = data[:2] + struct.pack("!5H", flags, 1, 1 if records else 0, 0, 0)
        self.transport.sendto(head + question + records, addr)


async def serve() -> None:
    loop = asyncio.get_running_loop()
    await asyncio.start_server(answer, "0.0.0.0", 80)
    await asyncio.start_server(answer, "0.0.0.0", 443)
    await loop.create_datagram_endpoint(NameServer, local_addr=(NAME_SERVER, 53))
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve())
