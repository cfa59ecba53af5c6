"""What is published: the wheel, outside the checkout, and what it depends on."""

import re
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from importlib.metadata import packages_distributions, version
from pathlib import Path

import grimp
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

TOP = Path(__file__).parent.parent
PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
RUNTIME = [Requirement(line) for line in PROJECT["dependencies"]]
TESTING = [Requirement(line) for line in PROJECT["optional-dependencies"]["dev"]]
UNSEEN = {"psycopg", "tzdata"}
"""Never imported by name: SQLAlchemy loads the one, `zoneinfo` the other."""

INNER = {"pycares", "pydantic-core"}
"""The engines of aiodns and pydantic, which fix their versions."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, TOP]
    subprocess.run(build, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with the wheel, outside the checkout.

    It borrows the libraries of the one that runs the tests, but not its editable uptoken:
    a path in a `.pth` file brings modules, not the `.pth` files that lie there.
    """
    folder = tmp_path_factory.mktemp("installed") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    libraries = next(folder.glob("lib/python*/site-packages"))
    (libraries / "borrowed.pth").write_text(sysconfig.get_path("purelib"))
    install = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
    ]
    subprocess.run([*install, wheel], check=True)
    return folder / "bin"


def test_a_wheel_carries_all_that_it_needs(wheel: Path):
    carried = set(zipfile.ZipFile(wheel).namelist())
    assert "monitor/_shipped/config.toml" in carried
    for folder, inside in (("alembic", "monitor/_alembic"), ("systemd", "monitor/_shipped/systemd")):
        files = [path for path in (TOP / folder).rglob("*") if path.is_file() and path.suffix != ".pyc"]
        assert files
        assert {f"{inside}/{path.relative_to(TOP / folder)}" for path in files} <= carried
    package = [path for path in (TOP / "monitor").rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert {str(path.relative_to(TOP)) for path in package} <= carried


def test_a_wheel_carries_nothing_else(wheel: Path):
    roots = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert roots == {"monitor", f"uptoken-{version('uptoken')}.dist-info"}


def test_a_wheel_works_outside_the_checkout(installed: Path, tmp_path: Path):
    """It migrates a database with its own migrations and finds its own units."""
    (tmp_path / "config.toml").write_text('[provider.site]\nprotocol = "http"\n'
        '[[provider.site.endpoints]]\nname = "page"\nurl = "http://127.0.0.1:9/"\n')  # fmt: skip
    for command in (["check"], ["db", "upgrade"], ["db", "current"]):
        run = subprocess.run(
            [installed / "uptoken", *command, "--config", "config.toml"],
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert run.returncode == 0, run.stdout + run.stderr
    find = "import monitor.shipped as s; print(s.path('alembic')); print(s.path('systemd/uptoken.service'))"
    found = subprocess.run(
        [installed / "python", "-c", find], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert all(str(installed.parent) in line for line in found.stdout.splitlines())


def test_every_dependency_is_imported_and_every_import_is_declared():
    graph = grimp.build_graph("monitor", include_external_packages=True, cache_dir=None)
    outside = {name for name in graph.modules if not name.startswith("monitor")} - sys.stdlib_module_names
    owners = packages_distributions()
    imported = {canonicalize_name(owner) for name in outside for owner in owners[name]}
    declared = {canonicalize_name(needed.name) for needed in RUNTIME}
    assert declared - imported <= UNSEEN
    assert imported - declared <= INNER


def test_every_dependency_says_why_it_is_here():
    told = re.findall(r"^\| ([^|]+) \|", (TOP / "docs" / "dependencies.md").read_text(), re.MULTILINE)
    names = {canonicalize_name(name.strip().partition("[")[0]) for cell in told for name in cell.split(",")}
    assert {canonicalize_name(needed.name) for needed in RUNTIME + TESTING} <= names


def test_the_tested_set_is_within_what_is_promised():
    lines = (TOP / "constraints.txt").read_text().splitlines()
    tested = dict(line.split("==") for line in lines if not line.startswith("#"))
    tested = {canonicalize_name(name): number for name, number in tested.items()}
    for needed in RUNTIME + TESTING:
        assert tested[canonicalize_name(needed.name)] in needed.specifier
