"""What is sent: a body with its type and its ETag, made once for all who ask for the same."""

import asyncio
import gzip
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import Response

JSON = "application/json"
HTML = "text/html; charset=utf-8"
MOST_BYTES = 32 * 1024 * 1024
"""Of documents that are kept; whoever asks for more of them waits for each."""
_WORTH_PACKING = 1_000


@dataclass(frozen=True, slots=True)
class Document:
    """A body that never changes, and its packed form where that is worth it."""

    body: bytes
    media_type: str
    status: int = 200
    max_age_s: int = 2
    immutable: bool = False
    packed: bytes | None = field(init=False)
    etag: str = field(init=False)

    def __post_init__(self) -> None:
        packed = gzip.compress(self.body, 5, mtime=0) if len(self.body) >= _WORTH_PACKING else None
        object.__setattr__(self, "packed", packed)
        object.__setattr__(self, "etag", hashlib.blake2b(self.body, digest_size=12).hexdigest())


def respond(request: Request, document: Document, headers: Mapping[str, str] | None = None) -> Response:
    """The document as this client wants it: packed or plain, or only the news that it is the same.

    Starlette leaves the body of a HEAD away and keeps its length.
    """
    packed = document.packed if _takes_gzip(request) else None
    etag = f'"{document.etag}{"-gzip" if packed is not None else ""}"'
    said = {"cache-control": _cache_control(document), "vary": "accept-encoding", **(headers or {})}
    if document.status == 200:
        said["etag"] = etag
        if _has(request, etag):
            return Response(status_code=304, headers=said)
    if packed is not None:
        said["content-encoding"] = "gzip"
    body = document.body if packed is None else packed
    return Response(body, status_code=document.status, media_type=document.media_type, headers=said)


def _cache_control(document: Document) -> str:
    if document.status != 200:
        return "no-store"
    if document.immutable:
        return "public, max-age=31536000, immutable"
    return f"public, max-age={document.max_age_s}"


def _takes_gzip(request: Request) -> bool:
    for part in request.headers.get("accept-encoding", "").split(","):
        name, _, weight = part.strip().partition(";")
        if name.lower() in ("gzip", "*"):
            return weight.replace(" ", "").lower() not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def _has(request: Request, etag: str) -> bool:
    """Whether the client holds this very body; `If-None-Match` compares weakly."""
    held = request.headers.get("if-none-match", "")
    return held.strip() == "*" or etag in {part.strip().removeprefix("W/") for part in held.split(",")}


class Shelf:
    """Documents made of one snapshot; a newer one clears it."""

    def __init__(self) -> None:
        self._of: object = None
        self._documents: dict[object, asyncio.Future[Document]] = {}
        self._bytes = 0

    async def get(self, of: object, key: object, make: Callable[[], Awaitable[Document]]) -> Document:
        """The document `key` of the snapshot `of`, made by the first who asks.

        What `make` raises travels to all who wait for it, and is forgotten.
        """
        if self._of is not of:
            self._of, self._documents, self._bytes = of, {}, 0
        held = self._documents.get(key)
        if held is None:
            held = asyncio.ensure_future(make())
            self._documents[key] = held
            documents = self._documents
            held.add_done_callback(lambda made: self._keep_or_forget(documents, key, made))
        return await asyncio.shield(held)

    def _keep_or_forget(
        self, documents: dict[object, asyncio.Future[Document]], key: object, made: asyncio.Future[Document]
    ) -> None:
        if made.cancelled() or made.exception() is not None:
            documents.pop(key, None)
            return
        size = len(made.result().body) + len(made.result().packed or b"")
        if documents is self._documents and self._bytes + size <= MOST_BYTES:
            self._bytes += size
        else:
            documents.pop(key, None)
