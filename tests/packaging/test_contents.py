"""What is in the wheel and in the sdist, and what isn't."""

from __future__ import annotations

import json
import tarfile
import tomllib
import zipfile
from configparser import ConfigParser
from email.parser import Parser
from pathlib import Path

import pytest

from tenure.cli.guide import pages

from . import make_sboms

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def names(wheel: Path) -> list[str]:
    return zipfile.ZipFile(wheel).namelist()


@pytest.fixture(scope="module")
def info(wheel: Path) -> dict[str, str]:
    """The texts of the wheel's dist-info by name."""
    archive = zipfile.ZipFile(wheel)
    inside = [name for name in archive.namelist() if ".dist-info/" in name]
    return {name.partition(".dist-info/")[2]: archive.read(name).decode() for name in inside}


def in_tree() -> set[str]:
    """Packages of the tree: folders with an `__init__.py` right under core and backends."""
    return {path.parent.name for part in ("core", "backends") for path in (ROOT / part).glob("*/__init__.py")}


def test_wheel_has_the_packages_and_nothing_else(names: list[str]) -> None:
    tops = {name.partition("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == in_tree()


def test_wheel_has_every_file_of_the_packages(names: list[str]) -> None:
    files = {
        path.relative_to(ROOT / part).as_posix()
        for part in ("core", "backends")
        for path in (ROOT / part).glob("tenure*/**/*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert files <= set(names)


def test_wheel_has_what_is_not_python(names: list[str]) -> None:
    # Said by name: the test above would not miss what the tree has lost as well.
    report = [f"tenure/conformance/report/{name}" for name in ("schema.json", "page.css", "page.js")]
    templates = [name for name in names if name.startswith("tenure/cli/scaffold/templates/backend/")]
    assert set(report) <= set(names)
    assert {name.rpartition("/")[2] for name in templates} >= {
        *("README.md.tmpl", "pyproject.toml.tmpl", "init.py.tmpl", "plugin.py.tmpl", "backend.py.tmpl"),
        *("test_name.py.tmpl", "test_hosts.py.tmpl", "test_file.py.tmpl", "controls.py.tmpl", "check.tmpl"),
        "gitignore.tmpl",
    }


def test_wheel_has_no_tests_pages_or_leftovers(names: list[str]) -> None:
    unwanted = ("tests/", "docs/", "contrib/", "docker/", "__pycache__", ".pyc", "conftest.py")
    assert [name for name in names if any(part in name for part in unwanted)] == []


def test_every_package_is_marked_as_typed(names: list[str]) -> None:
    missing = [package for package in sorted(in_tree()) if f"{package}/py.typed" not in names]
    assert missing == [], f"no py.typed in the wheel for {missing}"


def test_entry_points(info: dict[str, str]) -> None:
    points = ConfigParser(delimiters=("=",))
    points.read_string(info["entry_points.txt"])
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["tenure.backends"]
    assert dict(points["tenure.backends"]) == declared
    assert {name.removeprefix("tenure_") for name in in_tree()} - {"tenure"} == set(declared)
    assert points["console_scripts"]["tenure"]
    assert points["pytest11"]["tenure_conformance"]
    assert points["pytest11"]["tenure_testing"]
    assert points["tenure.testing"]["embedded"]


def test_the_guide_has_each_of_its_pages(names: list[str]) -> None:
    wanted = {f"tenure/cli/guide/pages/{pages.path_of(name)}" for name in pages.PAGES}
    assert {name for name in names if name.startswith("tenure/cli/guide/pages/")} == wanted


def test_each_distribution_has_its_bill_of_materials(info: dict[str, str]) -> None:
    assert make_sboms.main(["--check"]) == 0
    for folder, path in make_sboms.places().items():
        build = tomllib.loads((folder / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
        assert build.get("sbom-files") == [path.relative_to(folder).as_posix()], f"{folder.name}: sbom-files"
    bill = json.loads(info["sboms/tenure.cdx.json"])
    assert bill["metadata"]["component"]["version"] == Parser().parsestr(info["METADATA"])["Version"]
    required = [each["name"] for each in bill["components"] if each["scope"] == "required"]
    assert required == ["pluggy"]


def test_licence_and_readme(info: dict[str, str]) -> None:
    metadata = Parser().parsestr(info["METADATA"])
    assert metadata["License-Expression"] == "MIT"
    assert metadata.get_all("License-File") == ["LICENSE"]
    assert info["licenses/LICENSE"] == (ROOT / "LICENSE").read_text()
    assert metadata.get_payload().strip() == (ROOT / "README.md").read_text().strip()


def test_plain_requirement_is_pluggy_alone(info: dict[str, str]) -> None:
    requirements = Parser().parsestr(info["METADATA"]).get_all("Requires-Dist")
    assert requirements is not None
    assert [text for text in requirements if "extra ==" not in text] == ["pluggy>=1.5"]


def test_sdist_is_enough_to_build_and_test(sdist: Path) -> None:
    # That it builds is shown by the wheel, which was built from it.
    with tarfile.open(sdist) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    for needed in ("README.md", "LICENSE", "tox.ini", "pyproject.toml", "tests/conftest.py", "docker/README.md"):
        assert needed in names
    assert [name for name in names if "__pycache__" in name or name.startswith((".git/", ".tox/"))] == []
