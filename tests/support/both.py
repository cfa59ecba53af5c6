"""The same story on SQLite and on PostgreSQL, at the same time: it mostly waits, so both take as long as one."""

import inspect
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import home_at
from tests.support.receiver import receiving
from tests.support.simulated import Simulated


def on_both_databases(story: Callable[..., None]) -> Callable[..., None]:
    """Make a test of a story that takes `home`, and as it likes `simulated`, `receiver` and
    `second_receiver`, each apart from the other database's, and any other fixture, which both share.
    """
    wanted = list(inspect.signature(story).parameters)

    def test(request: pytest.FixtureRequest, tmp_path: Path, postgres_url: str) -> None:
        shared = {name: request.getfixturevalue(name) for name in wanted if name not in _APART}
        program: Simulated = request.getfixturevalue("_simulated")
        urls = {"sqlite": f"sqlite:///{tmp_path / 'sqlite' / 'uptoken.db'}", "postgresql": postgres_url}
        plays = [
            _Play(kind, story, wanted, shared, tmp_path / kind, url, Simulated(program.url, f"{kind}-"))
            for kind, url in urls.items()
        ]
        for play in plays:
            play.thread.start()
        for play in plays:
            play.thread.join()
        for play in plays:
            if play.failure is not None:
                play.failure.add_note(f"on {play.kind}")
                raise play.failure

    test.__name__, test.__doc__, test.__module__ = story.__name__, story.__doc__, story.__module__
    return test


_APART = ("home", "simulated", "receiver", "second_receiver")


@dataclass
class _Play:
    """The story on one of the two."""

    kind: str
    story: Callable[..., None]
    wanted: list[str]
    shared: dict[str, Any]
    folder: Path
    url: str
    simulated: Simulated
    failure: BaseException | None = None

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._run, name=self.kind, daemon=True)

    def _run(self) -> None:
        try:
            with ExitStack() as stack:
                self.folder.mkdir()
                self.simulated.start_over()
                cast = {
                    "home": stack.enter_context(home_at(self.folder, self.url)),
                    "simulated": self.simulated,
                }
                cast |= {name: stack.enter_context(receiving()) for name in self.wanted if "receiver" in name}
                self.story(**{name: {**cast, **self.shared}[name] for name in self.wanted})
        except BaseException as failure:  # noqa: BLE001 - it travels to the test
            self.failure = failure
