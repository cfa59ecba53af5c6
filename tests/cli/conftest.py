"""What most commands need: a folder with a config in it."""

from collections.abc import Callable
from pathlib import Path

import pytest

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write config.toml: these parts of TOML, one beneath the other. Returns its path."""

    def write_parts(*parts: str) -> Path:
        path = tmp_path / "config.toml"
        path.write_text("\n".join(parts), encoding="utf-8")
        path.chmod(0o600)
        return path

    return write_parts
