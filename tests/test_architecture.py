"""The shape of the house, held by the build.

The contracts themselves stand in pyproject.toml; what they mean, in docs/development.md.
"""

import re
import subprocess
import sys
from pathlib import Path

import grimp

TOP = Path(__file__).parent.parent
ROOMLESS = {"utils", "util", "helpers", "helper", "common", "manager", "service", "base", "misc", "models"}
IMPURE = {
    *(
        "asyncio",
        "concurrent",
        "io",
        "logging",
        "multiprocessing",
        "os",
        "pathlib",
        "random",
        "secrets",
        "select",
    ),
    *(
        "selectors",
        "shutil",
        "signal",
        "socket",
        "sqlite3",
        "ssl",
        "subprocess",
        "sys",
        "tempfile",
        "threading",
    ),
    *("time", "urllib", "warnings"),
}


def test_every_import_points_the_right_way():
    lint = [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--no-logo"]
    run = subprocess.run(lint, cwd=TOP, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_core_stands_on_the_standard_library_and_on_nothing_that_happens():
    graph = grimp.build_graph("monitor", include_external_packages=True, cache_dir=None)
    core = graph.find_descendants("monitor.core") | {"monitor.core"}
    outside = {
        imported
        for module in core
        for imported in graph.find_modules_directly_imported_by(module)
        if not imported.startswith("monitor.core")
    }
    assert outside <= sys.stdlib_module_names - IMPURE


def test_the_core_is_told_the_time():
    asked = re.compile(r"\.(now|today|utcnow)\(")
    assert [file for file in (TOP / "monitor" / "core").rglob("*.py") if asked.search(file.read_text())] == []


def test_the_simulator_knows_nothing_of_ours():
    graph = grimp.build_graph("monitor", cache_dir=None)
    simulator = graph.find_descendants("monitor.simulator") | {"monitor.simulator"}
    known = {imported for module in simulator for imported in graph.find_modules_directly_imported_by(module)}
    assert known <= simulator


def test_no_file_is_named_for_nothing():
    files = [*(TOP / "monitor").rglob("*.py"), *(TOP / "tests").rglob("*.py")]
    assert [file for file in files if file.stem.strip("_") in ROOMLESS] == []


def test_the_folder_of_migrations_does_not_shadow_alembic():
    assert not (TOP / "alembic" / "__init__.py").exists()
