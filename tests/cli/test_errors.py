"""What goes wrong is one line on stderr and an exit code that means something; never a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import tenure
from tenure import errors
from tenure.cli.ui.errors import exit_code

from .conftest import Run

CLI = [sys.executable, "-m", "tenure.cli"]


def every_error() -> list[type[tenure.TenureError]]:
    found = [tenure.TenureError]
    for kind in found:
        found += kind.__subclasses__()
    return [kind for kind in found if kind.__module__ == errors.__name__]


def made(kind: type[tenure.TenureError], message: str = "") -> tenure.TenureError:
    if issubclass(kind, tenure.PartiallyApplied):
        return kind(message, deleted=1)
    return kind(message)


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__name__)
def test_every_error_is_one_line_with_a_hint(
    kind: type[tenure.TenureError], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **options: object) -> None:
        raise made(kind, "what happened\nand more")

    monkeypatch.setattr(tenure.Store, "get", fail)
    result = run("kv", "get", "k")
    assert result.exit_code == exit_code(made(kind)) != 0
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert "what happened\\nand more [" in result.stderr
    record = json.loads(run("kv", "get", "k", "--json").stderr)
    assert (record["error"], record["exit_code"]) == (kind.__name__, result.exit_code)


def test_the_exit_codes() -> None:
    codes = {kind.__name__: exit_code(made(kind)) for kind in every_error()}
    assert codes["Conflict"] == codes["LeaseNotFound"] == codes["Unsupported"] == codes["LimitExceeded"] == 1
    assert codes["ConfigError"] == codes["UnknownScheme"] == codes["InvalidKey"] == codes["AuthenticationFailed"] == 2
    assert codes["Unavailable"] == codes["DeadlineExceeded"] == codes["StoreFull"] == 3
    assert codes["OutcomeUnknown"] == 4


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("memori://x", "Did you mean memory://"),
        ("not a url", "write a URL as in 'scheme://host:port/namespace'"),
        ("memory://x?nmespace=a", "did you mean 'namespace'"),
        ("memory://user:hidden-word@x", "takes no user name"),
    ],
)
def test_a_wrong_url_is_a_usage_error(run: Run, given: str, words: str) -> None:
    result = run("kv", "list", "--url", given)
    assert result.exit_code == 2
    assert words in result.stderr
    assert "hidden-word" not in result.stderr


def test_the_command_line_goes_before_the_environment(run: Run) -> None:
    assert run("--url", "memory://given", "kv", "list", TENURE_URL="nonsense").exit_code == 0
    assert run("kv", "list", TENURE_URL="nonsense").exit_code == 2


def test_a_timeout_that_is_none(run: Run) -> None:
    for text in ("0", "-1", "nan", "inf"):
        assert run("kv", "list", "--timeout", text).exit_code == 2


def test_help_documents_the_exit_codes_and_the_stores(run: Run) -> None:
    text = run("--help").stdout
    assert "outcome unknown" in text
    assert "memory://" in text
    assert run("-h").exit_code == 0


def test_ctrl_c_is_130(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(tenure.Store, "get", interrupt)
    assert run("kv", "get", "k").exit_code == 130


def test_a_reader_that_goes_away_is_no_error_message() -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        ended = subprocess.run(
            [*CLI, "backends"], stdout=write, stderr=subprocess.PIPE, check=False, timeout=60, env=dict(os.environ)
        )
    finally:
        os.close(write)
    assert (ended.returncode, ended.stderr) == (141, b"")


def test_a_full_disk_under_stdout_is_one_line() -> None:
    with open("/dev/full", "wb") as full:
        ended = subprocess.run([*CLI, "backends"], stdout=full, stderr=subprocess.PIPE, check=False, timeout=60)
    assert ended.returncode == 1
    assert ended.stderr.count(b"\n") == 1
    assert b"No space left" in ended.stderr


@pytest.mark.parametrize("command", [["lock", "l"], ["run", "web", "--port", "80"]], ids=["lock", "run"])
def test_remarks_that_cannot_be_written_end_nothing(command: list[str], tmp_path: Path) -> None:
    """The command runs while its remarks have no room, and its exit code is the one that counts."""
    url = f"sqlite://{tmp_path / 'store.db'}"
    with open("/dev/full", "wb") as full:
        ended = subprocess.run(
            [*CLI, "--url", url, *command, "--", "sh", "-c", "echo ran; exit 3"],
            stdout=subprocess.PIPE,
            stderr=full,
            check=False,
            timeout=60,
        )
    assert (ended.returncode, ended.stdout) == (3, b"ran\n")


def test_an_output_that_cannot_show_a_character_gets_its_escape() -> None:
    ended = subprocess.run(
        [*CLI, "kv", "put", "k\u6f22y", "v", "--url", "memory://x"],
        capture_output=True,
        check=False,
        timeout=30,
        env={**os.environ, "PYTHONIOENCODING": "latin-1"},
    )
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert b"k\\u6f22y" in ended.stdout
