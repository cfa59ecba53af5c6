"""How to look: one wire protocol a file, found by listing the folder.

`openai_chat.py` is the protocol `openai-chat`. Its file exports `Settings` (what stands in the
config) and `prepare`, which makes a `Look` of them: everything that is the same for every probe
is computed there, once. A name that begins with an underscore is not a protocol, but what
several of them share.
"""

import importlib
import pkgutil
import typing
from collections.abc import Callable, Mapping
from functools import cache

from monitor.config.secrets import SecretText
from monitor.config.settings import EndpointSettings
from monitor.core.observation import Observation, Usage
from monitor.core.report import Mailbox
from monitor.core.timeline import Timeline
from monitor.core.verdict import Expect
from monitor.core.wire import Limits, Wire

Reveal = Callable[[SecretText], str]
"""What a text of the config says once its secrets stand in it."""


class Look(typing.Protocol):
    """One endpoint, ready to be looked at any number of times, also at once."""

    @property
    def identity(self) -> str:
        """Of what is learnt: another identity, and what was learnt holds no more. No secret in it."""
        ...

    @property
    def model(self) -> str | None:
        """The model that is asked for; None for a plain check."""
        ...

    @property
    def expect(self) -> Expect:
        """What a good answer is."""
        ...

    @property
    def worst_case(self) -> Usage:
        """Tokens that one probe costs at most, before it is sent; None where there is no limit."""
        ...

    async def look(
        self, wire: Wire, timeline: Timeline, limits: Limits, nonce: str, learnt: Mapping[str, str]
    ) -> Observation:
        """Look once, and fill the timeline. `nonce` is fresh for every look.

        `learnt` is what earlier looks reported as `Observation.learnt`, merged. Whatever the
        other side does ends in an Observation; only a bug or a cancellation is raised.
        """
        ...


@typing.runtime_checkable
class Listening(Look, typing.Protocol):
    """The look of an endpoint that reports by itself: it finds what was put into its mailbox."""

    @property
    def mailbox(self) -> Mailbox:
        """Where its reports go."""
        ...

    @property
    def token(self) -> str:
        """What its sender has to know. A secret."""
        ...


class Protocol(typing.Protocol):
    """What the file of a protocol exports."""

    Settings: type[EndpointSettings]

    def prepare(self, settings: typing.Any, reveal: Reveal) -> Look:
        """Everything that can be computed once. `settings` is of the file's own `Settings`."""
        ...


@cache
def registry() -> Mapping[str, Protocol]:
    """Every protocol by its name in the config."""
    files = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return {
        file.replace("_", "-"): typing.cast(Protocol, importlib.import_module(f"{__name__}.{file}"))
        for file in files
        if not file.startswith("_")
    }


def settings_registry() -> Mapping[str, type[EndpointSettings]]:
    """What the loader of the config needs to know of the protocols."""
    return {name: protocol.Settings for name, protocol in registry().items()}
