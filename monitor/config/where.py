"""Where the config, the state and the database lie."""

from collections.abc import Callable, Mapping
from pathlib import Path

from monitor.config.secrets import Secrets
from monitor.config.settings import Config

_SYSTEM_CONFIG = Path("/etc/uptoken/config.toml")
_SYSTEM_STATE = Path("/var/lib/uptoken")
_SQLITE = "sqlite:///"


def is_there(path: Path) -> bool:
    """Also what lies in a folder that this user may not enter: whoever opens it is told why that fails."""
    try:
        return path.exists()
    except PermissionError:
        return True


def config_path(
    given: str | None, environ: Mapping[str, str], exists: Callable[[Path], bool] = is_there
) -> Path:
    """`--config`, else `$UPTOKEN_CONFIG`, else `./config.toml`, else the system's.

    The file that somebody names is not looked for. If there is none, it is `config.toml`.
    """
    named = given or environ.get("UPTOKEN_CONFIG")
    if named:
        return Path(named)
    here = Path("config.toml")
    return _SYSTEM_CONFIG if not exists(here) and exists(_SYSTEM_CONFIG) else here


def state_folder(config: Path, environ: Mapping[str, str]) -> Path:
    """`$STATE_DIRECTORY`, else `$UPTOKEN_STATE`, else the system's for a config below /etc, else `./var`."""
    # systemd joins several with colons; ours names one.
    named = environ.get("STATE_DIRECTORY", "").partition(":")[0] or environ.get("UPTOKEN_STATE")
    if named:
        return Path(named)
    return _SYSTEM_STATE if config.absolute().is_relative_to("/etc") else Path("var")


def database_url(config: Config, state_dir: Path, secrets: Secrets | None = None) -> str:
    """The URL, a relative SQLite path made absolute in the state folder.

    `secrets` is needed where the URL names one (`config.database.url.places`).
    """
    text = config.database.url
    url = secrets.of(text) if secrets else text.template
    if text.places and secrets is None:
        raise ValueError("the URL of the database names a secret, which has to be resolved first")
    if not url.startswith(_SQLITE):
        return url
    return f"{_SQLITE}{state_dir.absolute() / url.removeprefix(_SQLITE)}"
