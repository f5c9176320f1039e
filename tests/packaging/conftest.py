"""Builds the distributions once and makes virtual environments to install them into."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TIME_LIMIT = 300.0


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    """Run a command away from the tree's own modules and settings; a failure shows all it said."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "TENURE"))}
    environment["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@dataclass(frozen=True)
class Environment:
    """A virtual environment with nothing in it at first, not even pip: that of the tests is used on it."""

    folder: Path

    @property
    def interpreter(self) -> Path:
        return self.folder / "bin" / "python"

    def pip(self, *arguments: str | Path) -> str:
        return run(sys.executable, "-m", "pip", "--python", self.interpreter, *arguments)

    def install(self, *what: str | Path) -> None:
        self.pip("install", "--quiet", "--no-compile", *what)

    def would_install(self, *what: str | Path) -> dict[str, str]:
        """Names and versions of what would come along, without installing any of it."""
        report = json.loads(self.pip("install", "--quiet", "--dry-run", "--ignore-installed", "--report=-", *what))
        found = (item["metadata"] for item in report["install"])
        return {metadata["name"].lower(): metadata["version"] for metadata in found}

    def installed(self) -> dict[str, str]:
        """Names and versions of all distributions."""
        code = "from importlib import metadata\nfor d in metadata.distributions(): print(d.name.lower(), d.version)"
        return dict(line.split() for line in self.python(code).splitlines())

    def python(self, code: str) -> str:
        # -P: what lies in the working folder can't be imported by accident.
        return run(self.interpreter, "-P", "-c", code, cwd=self.folder)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist and the wheel; the wheel was built from the unpacked sdist."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", folder, ROOT)
    return folder


@pytest.fixture(scope="session")
def wheel(built: Path) -> Path:
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="session")
def sdist(built: Path) -> Path:
    (path,) = built.glob("*.tar.gz")
    return path


@pytest.fixture(scope="session")
def new_environment(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Environment]:
    def make() -> Environment:
        folder = tmp_path_factory.mktemp("venv")
        venv.create(folder, symlinks=True)
        return Environment(folder)

    return make


@pytest.fixture(scope="session")
def bare(new_environment: Callable[[], Environment], wheel: Path) -> Environment:
    """The wheel without extras, for tests that only look."""
    environment = new_environment()
    environment.install(wheel)
    return environment


@pytest.fixture(scope="session")
def full(new_environment: Callable[[], Environment], wheel: Path) -> Environment:
    """The wheel with all extras; tests may put other versions of what it needs in place."""
    environment = new_environment()
    environment.install(f"tenure[all] @ {wheel.as_uri()}")
    return environment
