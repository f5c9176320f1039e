"""Completion: names from the store within a bounded time, and silence when there is nothing to say."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time

import pytest

import tenure
from tenure.registry import Instance, Registry

from .conftest import Run


def complete(words: str, url: str, **env: str) -> tuple[list[str], str]:
    """What a shell would offer for the last word, and stderr."""
    ended = subprocess.run(
        [sys.executable, "-m", "tenure.cli"],
        env={
            **os.environ,
            "TENURE_URL": url,
            "TENURE_CONFIG": os.devnull,
            "_TENURE_COMPLETE": "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split(" ")) - 1),
            **env,
        },
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return [line.partition(",")[2] for line in ended.stdout.splitlines() if line], ended.stderr


def test_names_come_from_the_store(file_url: str) -> None:
    with tenure.connect(file_url) as store, Registry(store, instance=Instance("web", port=80)):
        store.put("settings/a", b"1")
        patience = {"TENURE_COMPLETION_TIMEOUT": "50"}
        assert complete("tenure instances w", file_url, **patience) == (["web"], "")
        assert complete("tenure kv get settings/", file_url, **patience) == (["settings/a"], "")
        assert "services" in complete("tenure serv", file_url, **patience)[0]


@pytest.mark.parametrize("url", ["nonsense", "nosuch://x", "redis://127.0.0.1:1"])
def test_what_goes_wrong_completes_nothing_in_silence(url: str) -> None:
    assert complete("tenure instances w", url) == ([], "")


def test_a_server_that_is_frozen_holds_nobody_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        assert complete("tenure kv get a", f"redis://127.0.0.1:{silent.getsockname()[1]}") == ([], "")
    assert time.monotonic() - started < 30  # a shell waits; the store's own timeouts and retries would go on for ever


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_code(run: Run, shell: str) -> None:
    code = run("completion", shell).stdout
    assert "_TENURE_COMPLETE" in code
    assert f"{shell}_complete" in code


def test_a_shell_that_is_not_known_is_a_question(run: Run) -> None:
    result = run("completion", SHELL="/bin/ash")
    assert result.exit_code == 2
    assert "bash, zsh, fish" in result.stderr
