"""What both addresses answer, over real sockets."""

import gzip
import json
import re
import sqlite3
import time
from collections.abc import Iterator

import httpx
import pytest

from monitor.core.instant import HOUR, MINUTE, Instant, iso
from tests.feeds import shape
from tests.store.believable import Life, lived, write
from tests.web.conftest import World
from tests.web.serving import Page

PAGES = ["/", "/providers/acme", "/endpoints/acme/fast", "/endpoints/acme/broken", "/incidents"]
FEEDS = [
    "/api/v1/endpoints",
    "/api/v1/endpoints/acme/fast",
    "/api/v1/endpoints/acme/fast/probes",
    "/api/v1/endpoints/acme/fast/series",
    "/api/v1/incidents",
]


@pytest.fixture(scope="module")
def client(served: Page) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, trust_env=False, timeout=20) as client:
        yield client


@pytest.fixture(scope="module")
def public(served: Page) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.public_url, trust_env=False, timeout=20) as client:
        yield client


def test_endpoints_are_told_as_the_contract_says(client, world: World):
    document = client.get("/api/v1/endpoints").raise_for_status().json()
    shape.check_endpoints(document)
    assert [one["id"] for one in document["endpoints"]] == ["acme/fast", "acme/broken", "hidden/site"]
    assert document["generated_at"] == iso(max(p.results[-1].at for p in world.pasts.values()))
    fast, broken, _ = document["endpoints"]
    assert (fast["state"], broken["state"]) == ("up", "down")
    assert fast["last_probe"]["id"] == world.pasts["acme/fast"].results[-1].probe_id
    assert fast["windows"]["7d"]["counts"]["ok"] == len(world.pasts["acme/fast"].results)
    assert broken["windows"]["24h"]["uptime"] < 100
    assert broken["windows"]["24h"]["down_s"] > 0


def test_one_endpoint_is_told_alone(client):
    document = client.get("/api/v1/endpoints/acme/fast").raise_for_status().json()
    assert list(document) == ["generated_at", "stale", "endpoint"]
    shape.check_endpoint(document["endpoint"])


def test_probes_are_told_page_by_page(client, world: World):
    written = [one.probe_id for one in world.pasts["acme/broken"].results][::-1]
    first = client.get("/api/v1/endpoints/acme/broken/probes").raise_for_status().json()
    shape.check_probes(first)
    assert [one["id"] for one in first["probes"]] == written[:100]
    path, read, before = "/api/v1/endpoints/acme/broken/probes", [], None
    while True:
        query = {"limit": 1000} | ({"before": before} if before else {})
        page = client.get(path, params=query).raise_for_status().json()
        read += [one["id"] for one in page["probes"]]
        before = page["next"]
        if before is None:
            break
    assert read == written


def test_events_are_told_page_by_page_newest_first(client, world: World):
    written = [event for step in world.pasts["acme/fast"].steps for event in step.events][::-1]
    path = "/api/v1/endpoints/acme/fast/events"
    first = client.get(f"{path}?limit=2").raise_for_status().json()
    rest = client.get(f"{path}?limit=2&before={first['next']}").raise_for_status().json()
    assert [one["text"] for one in first["events"] + rest["events"]] == [event.text for event in written]
    assert [list(one) for one in rest["events"]] == [["id", "at", "kind", "text"]]
    assert rest["next"] is None


def test_streams_that_were_not_whole_are_shown_where_there_are_some(client):
    text = client.get("/endpoints/acme/fast").text
    assert "Streams that were not whole" in text
    assert "3 burst, of " in text
    assert text.count("<b>fingerprint changed</b>") == 3
    assert "Streams that were not whole" not in client.get("/endpoints/hidden/site").text


def test_everybody_sees_that_somebody_else_answered_but_not_who(public):
    (one, *_) = public.get("/api/v1/endpoints/acme/fast/events").json()["events"]
    assert (one["kind"], one["text"]) == (
        "fingerprint_changed",
        "the provider runs another build of the model",
    )
    assert "the provider runs another build" in public.get("/endpoints/acme/fast").text


def test_a_series_has_a_bucket_for_every_step(client):
    path = "/api/v1/endpoints/acme/fast/series"
    document = client.get(path, params={"metric": "output_speed", "window": "1h", "step": "5m"}).json()
    shape.check_series(document)
    assert (document["metric"], document["window"], document["step"]) == ("output_speed", "1h", "5m")
    assert len(document["buckets"]) in (12, 13)
    assert sum(bucket["n"] for bucket in document["buckets"]) in (59, 60, 61)
    shape.check_series(client.get(path, params={"window": "90d", "metric": "ttft_ms"}).json())


def test_incidents_are_told_newest_first(client):
    document = client.get("/api/v1/incidents").raise_for_status().json()
    shape.check_incidents(document)
    assert [one["ended_at"] is None for one in document["incidents"]] == [True, True, False]
    assert len(client.get("/api/v1/incidents?limit=1").json()["incidents"]) == 1


@pytest.mark.parametrize(
    "query",
    [
        "probes?limit=0",
        "probes?limit=1001",
        "probes?limit=x",
        "probes?limit=-1",
        "probes?limit=9999999999999999999",
        "probes?before=1",
        "probes?before=%00",
        "events?limit=0",
        "events?before=1",
        "events?before=" + "f" * 32,
        "series?metric=nothing",
        "series?window=2h",
        "series?step=0s",
        "series?step=1",
        "series?window=90d&step=1s",
    ],
)
def test_what_cannot_be_understood_is_a_bad_request(client, query):
    response = client.get(f"/api/v1/endpoints/acme/fast/{query}")
    assert response.status_code == 400
    shape.check_error(response.json())
    assert response.json()["error"]["code"] == "bad_request"


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/endpoints/acme/nothing",
        "/api/v1/endpoints/acme/nothing/probes",
        "/api/v1/endpoints/acme/nothing/series",
        "/api/v1/endpoints/acme/nothing/events",
        "/api/v1/endpoints/acme",
        "/api/v1/endpoints/",
        "/api/v1/nothing",
        "/api/v1/endpoints/..%2f..%2fetc/passwd",
        "/api/v1/endpoints/acme/fast%00",
        "/api/v1/endpoints/acme/fast%0a",
        "/api/v1/endpoints/acme/fa%0Ast",
        "/api/v1/endpoints%0a",
        "/-/healthy%0a",
    ],
)
def test_what_there_is_not_is_not_found(client, path):
    response = client.get(path)
    assert response.status_code == 404
    shape.check_error(response.json())
    assert response.json()["error"]["code"] == "not_found"


@pytest.mark.parametrize(
    "path", ["/nothing", "/providers/nobody", "/endpoints/a/b", "/incidents/x", "/static/../app.py"]
)
def test_a_page_that_there_is_not_says_so_to_people(client, path):
    response = client.get(path)
    assert response.status_code == 404
    assert response.headers["content-type"].startswith("text/html")
    assert "To the status page" in response.text


@pytest.mark.parametrize("path", [*PAGES, *FEEDS, "/-/healthy", "/-/ready", "/favicon.ico", "/robots.txt"])
def test_head_is_get_without_the_body(client, path):
    got, head = client.get(path), client.head(path)
    assert head.status_code == got.status_code == 200
    assert head.content == b""
    for name in ("content-type", "content-length", "cache-control", "content-encoding"):
        assert head.headers.get(name) == got.headers.get(name), name


@pytest.mark.parametrize("path", [*PAGES, *FEEDS, "/static/page.css"])
def test_who_holds_the_same_document_hears_that_it_is_the_same(client, path):
    for _ in range(3):  # a newer snapshot may come in between
        first = client.get(path)
        again = client.get(path, headers={"if-none-match": first.headers["etag"]})
        if again.status_code == 304:
            break
    assert again.status_code == 304
    assert again.content == b""
    assert again.headers["etag"] == first.headers["etag"]
    weak = client.get(path, headers={"if-none-match": f'"other", W/{again.headers["etag"]}'})
    assert weak.status_code in (200, 304)
    assert client.get(path, headers={"if-none-match": '"other"'}).status_code == 200


@pytest.mark.parametrize("path", [*PAGES, *FEEDS])
def test_answers_may_be_kept_for_seconds_only(client, path):
    said = client.get(path).headers["cache-control"]
    found = re.fullmatch(r"public, max-age=(\d+)", said)
    assert found
    assert 1 <= int(found[1]) <= 10


def test_packed_and_plain_are_the_same_document(client):
    packed = client.get("/api/v1/incidents", headers={"accept-encoding": "gzip"})
    plain = client.get("/api/v1/incidents", headers={"accept-encoding": "identity"})
    refused = client.get("/api/v1/incidents", headers={"accept-encoding": "gzip;q=0"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert "content-encoding" not in refused.headers
    assert packed.json() == plain.json() == refused.json()
    assert packed.headers["etag"] != plain.headers["etag"]
    assert "accept-encoding" in packed.headers["vary"]
    assert gzip.decompress(gzip.compress(plain.content)) == packed.content


@pytest.mark.parametrize("path", [*PAGES, *FEEDS, "/nothing", "/api/nothing", "/-/ready", "/static/page.js"])
def test_every_answer_forbids_what_it_does_not_need(client, path):
    headers = client.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "server" not in headers
    assert "set-cookie" not in headers


def test_feeds_are_open_to_every_origin_and_pages_are_not(client):
    for path in FEEDS:
        assert client.get(path).headers["access-control-allow-origin"] == "*"
    for path in PAGES:
        assert "access-control-allow-origin" not in client.get(path).headers
    asked = client.options(
        FEEDS[0], headers={"origin": "https://a.example", "access-control-request-method": "GET"}
    )
    assert asked.status_code == 204
    assert asked.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_changed(client, method):
    response = client.request(method, "/api/v1/endpoints", content=b"x" * 100_000)
    assert response.status_code == 405
    assert response.headers["allow"] == "GET, HEAD"
    shape.check_error(response.json())


def test_the_process_lives_and_is_ready(client):
    assert client.get("/-/healthy").json() == {"status": "ok"}
    assert client.get("/-/healthy").headers["cache-control"] == "no-store"


def test_static_files_are_kept_for_ever_by_their_version(client):
    address = re.search(r'href="(/static/page\.css\?v=\w+)"', client.get("/").text)
    assert address
    response = client.get(address[1])
    assert "immutable" in response.headers["cache-control"]
    assert response.headers["content-type"].startswith("text/css")
    assert "immutable" not in client.get("/static/page.css?v=old").headers["cache-control"]


# Everybody's address


def test_everybody_gets_the_same_shape_without_what_is_hidden(public):
    document = public.get("/api/v1/endpoints").raise_for_status().json()
    shape.check_endpoints(document)
    assert [one["id"] for one in document["endpoints"]] == ["acme/fast", "acme/broken"]
    assert document["endpoints"][1]["last_probe"]["detail"] is None
    probes = public.get("/api/v1/endpoints/acme/broken/probes").json()
    shape.check_probes(probes)
    assert {one["detail"] for one in probes["probes"]} == {None}
    assert {one["request_id"] for one in probes["probes"]} == {None}
    assert {one["cost_usd"] for one in probes["probes"]} == {None}
    incidents = public.get("/api/v1/incidents").json()
    shape.check_incidents(incidents)
    assert {id_ for one in incidents["incidents"] for id_ in one["endpoints"]} == {"acme/broken"}


@pytest.mark.parametrize(
    "path",
    [
        "/endpoints/hidden/site",
        "/providers/hidden",
        "/api/v1/endpoints/hidden/site",
        "/api/v1/endpoints/hidden/site/probes",
        "/api/v1/endpoints/hidden/site/series",
        "/api/v1/endpoints/hidden/site/events",
    ],
)
def test_what_is_not_public_does_not_exist_for_everybody(client, public, path):
    assert client.get(path).status_code == 200
    assert public.get(path).status_code == 404


def test_a_hidden_incident_does_not_exist_for_everybody(client, public):
    for story in client.get("/api/v1/incidents").json()["incidents"]:
        hidden = story["endpoints"] == ["hidden/site"]
        for path in (f"/incidents/{story['id']}",):
            assert client.get(path).status_code == 200
            assert public.get(path).status_code == (404 if hidden else 200)


def test_no_answer_to_everybody_holds_what_is_for_operators(client, public, world: World):
    requests = {one.request_id for one in world.pasts["acme/broken"].results[-50:] if one.request_id}
    stories = [f"/incidents/{one['id']}" for one in public.get("/api/v1/incidents").json()["incidents"]]
    for path in [
        *PAGES,
        *FEEDS,
        *stories,
        "/api/v1/endpoints/acme/broken/probes",
        "/api/v1/endpoints/acme/broken/events",
        "/api/v1/endpoints/acme/broken",
        "/endpoints/acme/fast",
    ]:
        text = public.get(path).text
        assert "db7.internal" not in text, path
        assert "hidden" not in text.lower().replace("overflow:hidden", "").replace("aria-hidden", ""), path
        assert not any(request in text for request in requests), path
    assert "db7.internal" in client.get("/endpoints/acme/broken").text


def test_no_answer_tells_where_anything_lies(client, public, world: World):
    for reader in (client, public):
        for path in [*PAGES, *FEEDS, "/-/ready", "/nothing", "/api/v1/endpoints/acme/fast/probes?limit=0"]:
            text = reader.get(path).text
            assert str(world.folder) not in text
            assert "sqlite" not in text.lower()
            assert "Traceback" not in text


# What people read


def test_the_page_says_in_words_how_things_are(client):
    text = client.get("/").text
    assert "2 of 3 endpoints are down" in text
    assert "<title>2 of 3 endpoints are down" in text
    assert (
        text.index("Recent incidents")
        > text.index('id="acme/fast"')
        > text.index('aria-label="Open incidents"')
    )


def test_the_page_shows_every_figure_it_promises(client):
    text = client.get("/").text
    assert text.count('class="bars"') == 6
    assert text.count("<title>") >= 3 * 90
    for word in (
        "Uptime",
        "First token",
        "Output speed",
        "min",
        "avg",
        "p95",
        "max",
        "$0.10 in",
        "tier: gold",
    ):
        assert word in text
    for which in ("1 h", "24 h", "7 d", "30 d", "90 d"):
        assert f'<th scope="col">{which}</th>' in text


def test_the_page_refreshes_with_and_without_script(client):
    text = client.get("/").text
    assert re.search(r'<noscript><meta http-equiv="refresh" content="\d+"></noscript>', text)
    assert re.search(r'<script src="/static/page\.js\?v=\w+" defer></script>', text)


def test_nothing_is_fetched_from_elsewhere(client):
    for path in PAGES:
        for address in re.findall(r'(?:src|href)="([^"]*)"', client.get(path).text):
            if address.startswith("http"):
                assert address == "https://status.acme.example"
            else:
                assert address.startswith(("/", "#"))


@pytest.mark.parametrize("path", [*PAGES])
def test_no_style_and_no_script_stands_in_a_page(client, path):
    text = client.get(path).text
    assert not re.search(r"<[^>]+\sstyle=", text)
    assert not re.search(r"<[^>]+\son\w+=", re.sub(r"&\w+;|&#\d+;", "", text))
    assert "<style" not in text
    assert re.findall(r"<script(?! src)", text) == []


def test_what_a_provider_wrote_is_text_and_never_markup(client):
    for path in (*PAGES, "/incidents"):
        text = client.get(path).text
        assert "<script>document" not in text
        assert "<img src=x" not in text
    assert "&lt;script&gt;document.title" in client.get("/").text
    assert "{{7*7}}" in client.get("/").text


def test_a_snapshot_is_one_moment(client, world: World):
    """The page of an endpoint and its table of looks end with the same look."""
    text = client.get("/endpoints/acme/fast").text
    last = world.pasts["acme/fast"].results[-1]
    assert f'<b>Last look</b> <time datetime="{iso(last.at)}"' in text
    looks = re.findall(r'<p class="look">\s*<time datetime="([^"]+)"', text)
    assert looks[0] == iso(last.at)
    assert looks == sorted(looks, reverse=True)


def test_the_database_is_only_read(world: World, client):
    client.get("/")
    with sqlite3.connect(world.folder / "uptoken.db") as found:
        assert found.execute("SELECT count(*) FROM probe").fetchone()[0] == sum(
            len(past.results) for past in world.pasts.values()
        )
    found.close()


def test_every_document_is_plain_json(client):
    for path in FEEDS:
        response = client.get(path)
        assert response.headers["content-type"] == "application/json"
        json.loads(response.content.decode("utf-8"))


# When nobody vouches for it


def test_a_monitor_that_fell_silent_is_told_of_first(tmp_path):
    now = Instant(time.time_ns() // 1_000)
    life = Life(id="acme/fast", name="fast", provider="Acme")
    dead = Instant(now - 10 * MINUTE)
    url = f"sqlite:///{tmp_path / 'uptoken.db'}"
    write(url, [lived(life, Instant(now - HOUR), dead)], dead)
    with Page(url, tmp_path, [life.listing]) as page:
        page.await_listening()
        with httpx.Client(base_url=page.url, trust_env=False, timeout=20) as client:
            document = client.get("/api/v1/endpoints").json()
            shape.check_endpoints(document)
            assert document["stale"] is True
            (one,) = document["endpoints"]
            assert (one["state"], one["reason"]) == ("unknown", "nothing heard for 3 intervals")
            assert one["windows"]["1h"]["unknown_s"] > 6 * 60
            assert one["windows"]["1h"]["coverage"] < 100
            text = client.get("/").text
            assert "The monitor is silent" in text
            assert "The state of things is unknown" in text
            ready = client.get("/-/ready")
            assert ready.status_code == 503
            shape.check_error(ready.json())
            assert re.fullmatch(
                r"the daemon was last heard of 10 min( \d+ s)? ago", ready.json()["error"]["message"]
            )
            assert client.get("/-/healthy").status_code == 200
