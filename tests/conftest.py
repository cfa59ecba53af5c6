"""Fixtures for every test, and the rule that nothing is skipped."""

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from monitor.transport.waking import new_loop
from tests.support.ports import closed_port, unused_port

pytest_plugins = [
    "tests.support.browser",
    "tests.support.daemon",
    "tests.support.llama",
    "tests.support.postgres",
    "tests.support.receiver",
    "tests.support.simulated",
]

# A busy machine is no reason to fail.
settings.register_profile("untimed", settings(), deadline=None)
settings.load_profile("untimed")

ALONE = (
    "faults",
    "strain",
    "protocols/test_sdks.py",
    "simulator/test_pacing.py",
    "transport/test_stamps.py",
    "transport/test_waking.py",
)
"""What looks at times so short that nothing else should run beside it."""

TIMED = (
    "canaries",
    "cli",
    "daemon",
    "faults",
    "namespaces",
    "notifier",
    "protocols",
    "schedule",
    "simulator",
    "store",
    "strain",
    "transport",
    "web",
    "writer",
)
"""What looks at real sockets, processes and clocks, which a machine that is stopped for a moment may spoil."""
LOOKS = 3


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if any(item.path.is_relative_to(here / place) for place in ALONE):
            item.add_marker(pytest.mark.alone)
        if any(item.path.is_relative_to(here / place) for place in TIMED):
            item.add_marker(pytest.mark.flaky(reruns=LOOKS - 1))


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, object]]:
    """The loop that the daemon has."""
    return "asyncio", {"loop_factory": new_loop}


@pytest.fixture
def free_port() -> int:
    """A port on loopback that nobody holds."""
    return unused_port()


@pytest.fixture(name="closed_port")
def _closed_port() -> Iterator[int]:
    """A port on loopback that refuses."""
    with closed_port() as port:
        yield port


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that did not look is no test that passed: a skip or an expected failure fails."""
    report = yield
    if report.skipped or hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = (
            f"{item.nodeid}: skipped or expected to fail, and here nothing is ({report.longrepr})"
        )
        vars(report).pop("wasxfail", None)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Likewise for a whole file that skips itself."""
    report = yield
    if report.skipped:
        report.outcome = "failed"
        report.longrepr = f"{collector.nodeid}: skips itself, and here nothing is skipped ({report.longrepr})"
    return report
