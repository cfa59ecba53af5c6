"""The routes of one address. They decide nothing: ask the library, hand over to a feed or page."""

import re
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monitor.core.instant import say
from monitor.core.snapshot import EndpointSnapshot, Snapshot
from monitor.feeds import api_v1
from monitor.store.engine import DatabaseAway
from monitor.web import asked, pages
from monitor.web.aside import aside
from monitor.web.asked import Refusal, not_found
from monitor.web.documents import HTML, JSON, Document, Shelf, respond
from monitor.web.library import Detail, Library

_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self';"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), interest-cohort=()",
    "cross-origin-opener-policy": "same-origin",
}
_CORS = {"access-control-allow-origin": "*", "access-control-expose-headers": "etag"}
_PREFLIGHT = {
    **_CORS,
    "access-control-allow-methods": "GET, HEAD",
    "access-control-allow-headers": "*",
    "access-control-max-age": "86400",
}
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")
_AWAY = "the database does not answer at the moment; try again"


def create(library: Library, *, public: bool) -> ASGIApp:
    """The application of the operators' address, or of everybody's (`public`)."""
    routes = _Routes(library, public=public)
    paths: dict[str, Callable[[Request], Awaitable[Response]]] = {
        "/": routes.home,
        "/providers/{provider}": routes.provider,
        "/endpoints/{provider}/{slug}": routes.endpoint,
        "/incidents": routes.incidents,
        "/incidents/{incident}": routes.incident,
        "/api/v1/endpoints": routes.api_endpoints,
        "/api/v1/endpoints/{provider}/{slug}": routes.api_endpoint,
        "/api/v1/endpoints/{provider}/{slug}/probes": routes.api_probes,
        "/api/v1/endpoints/{provider}/{slug}/series": routes.api_series,
        "/api/v1/endpoints/{provider}/{slug}/events": routes.api_events,
        "/api/v1/incidents": routes.api_incidents,
        "/static/{name}": _static,
        "/favicon.ico": _favicon,
        "/robots.txt": _robots,
        "/-/healthy": _healthy,
        "/-/ready": routes.ready,
    }
    if not public:
        paths |= {
            "/api/v1/daemon": routes.api_daemon,
            "/api/v1/endpoints/{provider}/{slug}/evidence": routes.api_evidence,
            "/api/v1/endpoints/{provider}/{slug}/probes/{probe}/evidence": routes.api_evidence,
        }
    application = Starlette(
        routes=[Route(path, handler, methods=["GET"]) for path, handler in paths.items()],
        exception_handlers={
            Refusal: routes.refused,
            DatabaseAway: routes.away,
            HTTPException: routes.no_route,
            Exception: _bug,
        },
    )
    # A redirect would name the host that the client claims to have asked.
    application.router.redirect_slashes = False
    # Outside of everything, because Starlette answers for a bug outside of its middleware.
    return _Guard(application)


class _Routes:
    def __init__(self, library: Library, *, public: bool) -> None:
        self._library = library
        self._public = public
        self._shelf = Shelf()

    # Pages

    async def home(self, request: Request) -> Response:
        return await self._page(request, pages.home)

    async def provider(self, request: Request) -> Response:
        id_ = request.path_params["provider"]

        def render(snapshot: Snapshot) -> bytes:
            body = pages.provider(snapshot, id_)
            if body is None:
                raise not_found("There is no such provider here.")
            return body

        return await self._page(request, render)

    async def endpoint(self, request: Request) -> Response:
        snapshot = await self._snapshot()
        one = _wanted(request, snapshot)

        async def make() -> Document:
            try:
                detail = await self._library.detail(snapshot, one, public=self._public)
            except DatabaseAway:
                detail = Detail(series={})
            operators = not self._public
            render = lambda: pages.endpoint(  # noqa: E731 - it runs in another thread
                snapshot,
                one,
                detail.probes,
                detail.series,
                detail.incidents,
                operators=operators,
                evidence=detail.evidence,
                events=detail.events,
            )
            return Document(await aside(render), HTML)

        return respond(request, await self._shelf.get(snapshot, request.url.path, make))

    async def incidents(self, request: Request) -> Response:
        return await self._page(request, pages.incidents)

    async def incident(self, request: Request) -> Response:
        snapshot = await self._snapshot()
        id_ = request.path_params["incident"]

        async def make() -> Document:
            story = next((story for story in snapshot.incidents if story.id == id_), None)
            if story is None:
                story = await self._library.incident(id_, public=self._public)
            if story is None:
                raise not_found("There is no such incident here.")
            return Document(pages.incident(snapshot, story), HTML)

        return respond(request, await self._shelf.get(snapshot, request.url.path, make))

    async def _page(self, request: Request, render: Callable[[Snapshot], bytes]) -> Response:
        return await self._document(request, request.url.path, HTML, render)

    # Feeds

    async def api_endpoints(self, request: Request) -> Response:
        return await self._document(request, "api", JSON, api_v1.endpoints)

    async def api_endpoint(self, request: Request) -> Response:
        def render(snapshot: Snapshot) -> bytes:
            return api_v1.endpoint(snapshot, _wanted(request, snapshot))

        return await self._document(request, request.url.path, JSON, render)

    async def api_probes(self, request: Request) -> Response:
        limit, before = asked.limit(request.query_params), asked.before(request.query_params)
        snapshot = await self._snapshot()
        one = _wanted(request, snapshot)

        async def make() -> Document:
            found, following, evidence = await self._library.probes(
                one.id, limit, before, public=self._public
            )
            return Document(await aside(lambda: api_v1.probes(found, following, evidence)), JSON)

        return respond(request, await self._shelf.get(snapshot, ("probes", one.id, limit, before), make))

    async def api_evidence(self, request: Request) -> Response:
        snapshot = await self._snapshot()
        one = _wanted(request, snapshot)
        named = request.path_params.get("probe")
        probe = None if named is None else asked.probe(named)

        async def make() -> Document:
            found = await self._library.evidence(one.id, probe)
            if found is None:
                raise not_found("There is no evidence: it is kept of failures, and not of each of many.")
            return Document(api_v1.evidence(found), JSON)

        return respond(request, await self._shelf.get(snapshot, ("evidence", one.id, probe), make))

    async def api_series(self, request: Request) -> Response:
        wanted = asked.series(request.query_params)
        snapshot = await self._snapshot()
        one = _wanted(request, snapshot)

        async def make() -> Document:
            buckets = await self._library.series(one.id, wanted)
            body = api_v1.series(buckets, wanted.metric, wanted.window, wanted.step_name)
            return Document(body, JSON)

        return respond(request, await self._shelf.get(snapshot, ("series", one.id, wanted), make))

    async def api_events(self, request: Request) -> Response:
        limit, before = asked.limit(request.query_params), asked.before_event(request.query_params)
        snapshot = await self._snapshot()
        one = _wanted(request, snapshot)

        async def make() -> Document:
            found, following = await self._library.events(one.id, limit, before, public=self._public)
            return Document(api_v1.events(found, following), JSON)

        return respond(request, await self._shelf.get(snapshot, ("events", one.id, limit, before), make))

    async def api_incidents(self, request: Request) -> Response:
        limit = asked.limit(request.query_params) if "limit" in request.query_params else None

        def render(snapshot: Snapshot) -> bytes:
            if snapshot.database_away:
                # What was known earlier might call an incident open that is over.
                raise DatabaseAway(_AWAY)
            return api_v1.incidents(snapshot.newest_incidents(limit))

        return await self._document(request, ("incidents", limit), JSON, render)

    async def api_daemon(self, request: Request) -> Response:
        return await self._document(request, "daemon", JSON, api_v1.daemon)

    # The process itself

    async def ready(self, request: Request) -> Response:
        snapshot = await self._snapshot()
        reason = _not_ready(snapshot)
        if reason is not None:
            return respond(request, Document(api_v1.error("not_ready", reason), JSON, status=503))
        return Response(b'{"status":"ready"}', media_type=JSON, headers={"cache-control": "no-store"})

    # What there is not

    async def refused(self, request: Request, refusal: Exception) -> Response:
        assert isinstance(refusal, Refusal)
        return await self._problem(request, refusal.status, refusal.code, refusal.message)

    async def away(self, request: Request, _away: Exception) -> Response:
        return await self._problem(request, 503, "database_away", _AWAY)

    async def no_route(self, request: Request, fault: Exception) -> Response:
        assert isinstance(fault, HTTPException)
        if fault.status_code == 405 and request.method == "OPTIONS" and _is_feed(request.url.path):
            return Response(status_code=204, headers=_PREFLIGHT)
        if fault.status_code == 405:
            response = await self._problem(request, 405, "method_not_allowed", "only GET and HEAD work here")
            response.headers["allow"] = "GET, HEAD"
            return response
        return await self._problem(
            request, fault.status_code, "not_found", "There is nothing at this address."
        )

    async def _problem(self, request: Request, status: int, code: str, message: str) -> Response:
        if _is_feed(request.url.path):
            return respond(request, Document(api_v1.error(code, message), JSON, status=status))
        title = {404: "Not found", 503: "Not available now"}.get(status, "That does not work")
        snapshot = await self._snapshot()
        return respond(request, Document(pages.problem(snapshot, title, message), HTML, status=status))

    # Helping all of them

    async def _snapshot(self) -> Snapshot:
        return await self._library.snapshot(public=self._public)

    async def _document(
        self, request: Request, key: object, media_type: str, render: Callable[[Snapshot], bytes]
    ) -> Response:
        """The document that is rendered from the snapshot alone, once for all who ask for it."""
        snapshot = await self._snapshot()

        async def make() -> Document:
            return await aside(lambda: Document(render(snapshot), media_type))

        return respond(request, await self._shelf.get(snapshot, key, make))


def _wanted(request: Request, snapshot: Snapshot) -> EndpointSnapshot:
    """The endpoint that the path names. Raises Refusal."""
    id_ = f"{request.path_params['provider']}/{request.path_params['slug']}"
    one = snapshot.endpoint(id_)
    if one is None:
        raise not_found("There is no such endpoint here.")
    return one


def _not_ready(snapshot: Snapshot) -> str | None:
    """Why not; None: ready."""
    if snapshot.database_away:
        return "the database does not answer"
    if snapshot.heartbeat is None:
        return "no daemon has reported to this database yet"
    if snapshot.stale:
        return f"the daemon was last heard of {say(snapshot.now - snapshot.heartbeat.beat_at)} ago"
    return None


def _is_feed(path: str) -> bool:
    return path.startswith(("/api/", "/-/"))


async def _static(request: Request) -> Response:
    asset = pages.assets().get(request.path_params["name"])
    if asset is None:
        raise HTTPException(404)
    immutable = request.query_params.get("v") == asset.version
    return respond(request, _asset(asset, immutable=immutable))


async def _favicon(request: Request) -> Response:
    return respond(request, _asset(pages.assets()["state-up.svg"], immutable=False))


@cache
def _asset(asset: pages.Asset, *, immutable: bool) -> Document:
    return Document(asset.body, asset.media_type, max_age_s=300, immutable=immutable)


async def _robots(_request: Request) -> Response:
    body = b"User-agent: *\nDisallow: /api/\nDisallow: /-/\n"
    return Response(body, media_type="text/plain", headers={"cache-control": "public, max-age=3600"})


async def _healthy(_request: Request) -> Response:
    return Response(b'{"status":"ok"}', media_type=JSON, headers={"cache-control": "no-store"})


async def _bug(request: Request, _fault: Exception) -> Response:
    """The server logs the exception; whoever asked learns nothing of it."""
    message = "this is a mistake of ours; it has been logged"
    if _is_feed(request.url.path):
        return Response(api_v1.error("internal_error", message), status_code=500, media_type=JSON)
    return Response(message, status_code=500, media_type="text/plain")


class _Guard:
    """The headers that every response carries, and paths that are what they seem."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        added: dict[str, Any] = {**_HEADERS, **(_CORS if scope["path"].startswith("/api/") else {})}

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in added.items():
                    headers.setdefault(name, value)
            await send(message)

        # Whoever takes an address apart drops line breaks, and a route's pattern bears one at its end.
        path = _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", scope["path"])
        await self._app({**scope, "path": path}, receive, guarded)
