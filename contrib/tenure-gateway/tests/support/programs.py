"""nginx, HAProxy, dig and Prometheus of Debian in one container, on the network and a folder of this machine.

``bin`` in the folder has commands that run in the container. With it in its PATH, `tenure render` runs what an operator
would write; ``inside`` is a shell there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Self

from tenure_testkit.servers import engine
from tenure_testkit.servers.lifetime import Lifetime

DOCKER = Path(__file__).parents[2] / "docker"
_NAMES = ("nginx", "haproxy")
_LIMIT = 120.0


def missing() -> str | None:
    """Return why the programs can't be had; ``None`` if they can."""
    if shutil.which("docker") is None:
        return "the command docker is missing"
    return engine.skip_reason()


class Programs(Lifetime):
    """The container. Use it in ``with``.

    Args:
        folder: a folder that exists; the container has it at the same path.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._id = ""

    def start(self) -> Self:
        container = engine.client().containers.run(
            engine.image(str(DOCKER)),
            detach=True,
            init=True,  # daemons that end become no zombies
            network_mode="host",
            volumes={str(self._folder): {"bind": str(self._folder), "mode": "rw"}},
            labels=engine.labels(),
        )
        self._container = container
        self._id = str(container.id)
        (self._folder / "bin").mkdir()
        for name in _NAMES:
            file = self._folder / "bin" / name
            file.write_text(f'#!/bin/sh\nexec docker exec {self._id} {name} "$@"\n')
            file.chmod(0o755)
        inside = self._folder / "bin" / "inside"
        inside.write_text(f'#!/bin/sh\nexec docker exec {self._id} sh -c "$1"\n')
        inside.chmod(0o755)
        return self

    def remove(self) -> None:
        if self._id:
            self._container.remove(force=True, v=True)
            self._id = ""

    @property
    def environment(self) -> dict[str, str]:
        """This process's environment, with the programs in its PATH."""
        return {**os.environ, "PATH": f"{self._folder}/bin{os.pathsep}{os.environ['PATH']}"}

    def run(self, *command: object) -> str:
        """Run a command in the container, and return what it printed. Raises ``AssertionError`` if it fails."""
        line = ["docker", "exec", self._id, *map(str, command)]
        done = subprocess.run(line, capture_output=True, text=True, timeout=_LIMIT, check=False)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def spawn(self, *command: object) -> None:
        """Start a command in the container that runs until the container ends."""
        subprocess.run(["docker", "exec", "--detach", self._id, *map(str, command)], timeout=_LIMIT, check=True)
