"""What a wheel carries beside the package: migrations, systemd units, the demo's config.

In a checkout, and so in an editable install, the same files are read where they lie
(`monitor/shipped.py` decides), hence a hook instead of a plain `force-include`.
"""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

CARRIED = {
    "alembic": "monitor/_alembic",
    "systemd": "monitor/_shipped/systemd",
    "config.toml": "monitor/_shipped/config.toml",
}


class CustomBuildHook(BuildHookInterface[Any]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version != "editable":
            build_data["force_include"].update(CARRIED)
