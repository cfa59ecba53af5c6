"""From exec to ready, and the memory of a daemon with a thousand endpoints."""

import time
from collections.abc import Iterator
from statistics import median

from bench import rig
from bench.process import children, cpu_s, peak_rss_mb, rss_mb
from bench.report import Table, against, load, spread
from tests.support.daemon import Home
from tests.support.simulated import Simulated, simulating

ENDPOINTS = 1_000
RUNS = 5
READY_S, MEMORY_MB = 1.5, 120
MINUTE_S = 60.0


def figures(*, long: bool) -> Iterator[Table]:  # noqa: ARG001 - the same in both cases
    with simulating() as simulated:
        simulated.define("model")
        config = _config(simulated)
        with rig.home() as home:
            home.configure(config)
            _again(home)  # for the page cache
        first = [_first(config) for _ in range(RUNS)]
        with rig.home() as home:
            home.configure(config)
            _again(home)
            later = [_again(home) for _ in range(RUNS)]
            yield _starts(first, later)
            yield _memory(home)


def _config(simulated: Simulated) -> str:
    half = ENDPOINTS // 2
    return "\n".join(
        (
            rig.plain(simulated.url, half, "60s"),
            rig.models(simulated.base_url("model"), half, "60s", "30s", 'degraded = { ttft_p95 = "2s" }\n'),
        )
    )


def _first(config: str) -> tuple[float, float]:
    """Seconds to ready, and of CPU; the database has to be made."""
    with rig.home() as home:
        home.configure(config)
        return _again(home)


def _again(home: Home) -> tuple[float, float]:
    daemon = home.start()
    took = rig.seconds_to_ready(daemon)
    cpu = cpu_s(daemon.pid)
    daemon.stop()
    return took, cpu


def _starts(first: list[tuple[float, float]], later: list[tuple[float, float]]) -> Table:
    table = Table(
        f"start: exec to ready with {ENDPOINTS:,} endpoints",
        ("start", "seconds", "goal", "CPU, s"),
        note=f"Half of them `http`, half `openai-chat`; SQLite, warm page cache; {RUNS} runs each; {load()}.",
    )
    for name, runs in (("first, which makes the database", first), ("later", later)):
        seconds = [took for took, _ in runs]
        table.add(
            name, spread(seconds, 2), against(median(seconds), READY_S), spread([cpu for _, cpu in runs], 2)
        )
    return table


def _memory(home: Home) -> Table:
    table = Table(
        f"start: memory with {ENDPOINTS:,} endpoints",
        ("process", "RSS after a minute, MB", "peak, MB", "goal"),
        note="Every endpoint was probed at least once by then.",
    )
    daemon = home.ready()
    time.sleep(MINUTE_S)
    table.add("daemon", *_resident(daemon.pid), against(rss_mb(daemon.pid), MEMORY_MB))
    daemon.stop()
    _with_page(home)
    daemon = home.ready()
    time.sleep(MINUTE_S)
    table.add("daemon, with a page process", *_resident(daemon.pid), against(rss_mb(daemon.pid), MEMORY_MB))
    for child in children(daemon.pid):
        table.add("page process", *_resident(child), "–")
    daemon.stop()
    return table


def _resident(pid: int) -> tuple[str, str]:
    return f"{rss_mb(pid):.0f}", f"{peak_rss_mb(pid):.0f}"


def _with_page(home: Home) -> None:
    """The same config, and a page on a socket."""
    text = home.config.read_text()
    home.config.write_text(text.replace('listen = ""', f'listen = "unix:{home.folder}/page.sock"'))
