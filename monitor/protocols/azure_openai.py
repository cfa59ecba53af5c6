"""Azure OpenAI: chat completions behind a door of its own, one for each deployment.

The stream is OpenAI's, with chunks about content filters in it; `openai_chat` reads them.
Azure's other door, `/openai/v1`, is plain `openai-chat`.
"""

from collections.abc import Iterator
from typing import Annotated
from urllib.parse import quote

from pydantic import Field

from monitor.config.settings import Objection
from monitor.protocols import Reveal
from monitor.protocols._model import appended, credential
from monitor.protocols.openai_chat import Chat, ChatSettings, Door

_APPENDED = {
    "/openai": "which is appended: leave it out",
    "/openai/v1": 'which is Azure\'s other door: write protocol = "openai-chat", or leave it out',
    "/openai/deployments": "which is appended: leave it out",
}


class Settings(ChatSettings):
    """One deployment; `model` is its name."""

    api_version: Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]{1,40}$")] = "2024-10-21"
    """Of Azure's API; later ones know more request fields."""

    @property
    def usual_limit(self) -> str:
        return "max_completion_tokens"

    def objections(self) -> Iterator[Objection]:
        yield from super().objections()
        yield from appended(self.base_url, _APPENDED)


def prepare(settings: Settings, reveal: Reveal) -> Chat:
    """One deployment, ready to be looked at."""
    deployment = quote(settings.model, safe="")
    path = f"openai/deployments/{deployment}/chat/completions"
    door = Door(
        url=f"{settings.base_url}/{path}?api-version={settings.api_version}",
        headers=credential(settings, reveal, "api-key"),
        options={},
    )
    return Chat(settings, reveal, door)
