"""Stories that are told at the same time: they mostly wait, so several take as long as one."""

import inspect
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
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
    apart = {"home", "simulated", "receiver", "second_receiver"}

    def test(request: pytest.FixtureRequest, tmp_path: Path, postgres_url: str) -> None:
        shared = {name: request.getfixturevalue(name) for name in wanted if name not in apart}
        program: Simulated = request.getfixturevalue("_simulated")
        urls = {"sqlite": f"sqlite:///{tmp_path / 'sqlite' / 'uptoken.db'}", "postgresql": postgres_url}

        def play(kind: str) -> None:
            with stage(kind, tmp_path, urls[kind], program, wanted) as own:
                story(**own, **shared)

        at_once({kind: partial(play, kind) for kind in urls})

    test.__name__, test.__doc__, test.__module__ = story.__name__, story.__doc__, story.__module__
    return test


@contextmanager
def stage(
    name: str, folder: Path, database_url: str, program: Simulated, wanted: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """What a story needs that nobody else may touch, as far as it is wanted: a home, providers, webhooks."""
    (folder / name).mkdir()
    simulated = Simulated(program.url, f"{name}-")
    simulated.start_over()
    with (
        home_at(folder / name, database_url) as home,
        receiving() as receiver,
        receiving() as second_receiver,
    ):
        own = {
            "home": home,
            "simulated": simulated,
            "receiver": receiver,
            "second_receiver": second_receiver,
        }
        yield {name: value for name, value in own.items() if name in wanted}


def at_once(stories: dict[str, Callable[[], None]]) -> None:
    """Each in a thread of its own; raises the first failure, with the story's name.

    A program that such a thread starts ends with it.
    """
    plays = [_Play(name, story) for name, story in stories.items()]
    for play in plays:
        play.thread.start()
    for play in plays:
        play.thread.join()
    for play in plays:
        if play.failure is not None:
            play.failure.add_note(f"in the story of {play.name}")
            raise play.failure


@dataclass
class _Play:
    name: str
    story: Callable[[], None]
    failure: BaseException | None = None

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._run, name=self.name, daemon=True)

    def _run(self) -> None:
        try:
            self.story()
        except BaseException as failure:  # noqa: BLE001 - it travels to the test
            self.failure = failure
