"""Two small protocols, so that the loader is tested without the real ones."""

from typing import Annotated, Literal

from pydantic import Field

from monitor.config.settings import EndpointSettings, ModelSettings
from monitor.config.values import Duration, Table, Text, Url


class ChatSettings(ModelSettings):
    """A language model."""

    max_tokens_field: Literal["auto", "max_tokens", "max_completion_tokens"] = "auto"


class WebExpect(Table):
    """What a good answer of a URL is."""

    status: Annotated[int, Field(ge=100, le=599)] = 200
    body_contains: Text | None = None
    elapsed: Duration | None = None
    certificate_days: Annotated[int, Field(ge=0)] | None = None


class WebSettings(EndpointSettings):
    """A URL."""

    url: Url
    expect: WebExpect = WebExpect()


PROTOCOLS: dict[str, type[EndpointSettings]] = {"openai-chat": ChatSettings, "http": WebSettings}
