"""Running the command line: in this process through click's runner, or as a real one."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
from click.testing import CliRunner, Result

import tenure
import tenure_memory
from tenure.cli.app import cli


class Run(Protocol):
    def __call__(self, *args: str, stdin: bytes | None = None, **env: str) -> Result: ...


@pytest.fixture
def url() -> str:
    """A store of this process that no other test knows."""
    return f"memory://{uuid.uuid4().hex}"


@pytest.fixture
def store(url: str) -> Iterator[tenure.Store]:
    """The store behind ``url``, opened beside the command line; it also keeps the store's content alive."""
    with tenure.connect(url) as opened:
        yield opened


@pytest.fixture
def run(url: str, store: tenure.Store) -> Run:
    """``run("kv", "get", "k")`` on the store of ``url``."""

    def call(*args: str, stdin: bytes | None = None, **env: str) -> Result:
        result = CliRunner().invoke(cli, args, input=stdin, env={"TENURE_URL": url, "TENURE_CONFIG": os.devnull, **env})
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return call


@pytest.fixture
def run_json(run: Run) -> Any:
    """Like ``run`` with ``--json``: the parsed document of a command that ends well."""

    def call(*args: str, stdin: bytes | None = None) -> Any:
        result = run(*args, "--json", stdin=stdin)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    return call


@pytest.fixture
def file_url(tmp_path: Path) -> str:
    """A store that several processes share, in a file of this test's own."""
    return f"sqlite://{tmp_path / 'store.db'}"


@pytest.fixture
def names() -> Iterator[tuple[str, str]]:
    """Names of two stores of this process, a source and a target."""
    found = (f"from-{uuid.uuid4().hex}", f"to-{uuid.uuid4().hex}")
    yield found
    for name in found:
        tenure_memory.forget(name)


@pytest.fixture
def source(names: tuple[str, str]) -> Iterator[tenure.Store]:
    with tenure.connect(f"memory://{names[0]}", timeout=0.3) as opened:
        yield opened


@pytest.fixture
def target(names: tuple[str, str]) -> Iterator[tenure.Store]:
    with tenure.connect(f"memory://{names[1]}", timeout=0.3) as opened:
        yield opened
