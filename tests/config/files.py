"""Writes a config.toml for a test and loads it."""

import textwrap
from datetime import UTC, datetime
from pathlib import Path

from monitor.config.load import load
from monitor.config.settings import Config
from tests.config.protocols import PROTOCOLS

NOW = datetime(2026, 11, 21, 22, tzinfo=UTC)

CHAT = """
[provider.openai]
protocol = "openai-chat"
base_url = "https://api.openai.com/v1"
"""

ENDPOINT = """
[[provider.openai.endpoints]]
model = "nano"
"""


def written(folder: Path, text: str, mode: int = 0o600) -> Path:
    """The text as config.toml in the folder."""
    path = folder / "config.toml"
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    path.chmod(mode)
    return path


def loaded(folder: Path, text: str, mode: int = 0o600) -> Config:
    """What the text says as config.toml."""
    return load(written(folder, text, mode), PROTOCOLS, NOW)
