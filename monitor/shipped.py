"""Files that travel with the program: migrations, systemd units, the demo's config.

A wheel carries them inside the package; in a checkout they lie at its top, where people
look for them.
"""

from pathlib import Path

_PACKAGE = Path(__file__).parent
_CARRIED = _PACKAGE / "_shipped"


def path(name: str) -> Path:
    """Where `alembic`, `systemd/uptoken.service` or `config.toml` lies on this machine.

    Raises FileNotFoundError if the installation lacks it.
    """
    found = _place(name)
    if not found.exists():
        raise FileNotFoundError(f"this installation lacks {name}: install uptoken again")
    return found


def _place(name: str) -> Path:
    # Beside an installed package lies the library of the name `alembic`, so the top of a
    # checkout is looked at only where there is no copy of our own.
    if not _CARRIED.is_dir():
        return _PACKAGE.parent / name
    return _PACKAGE / "_alembic" if name == "alembic" else _CARRIED / name
