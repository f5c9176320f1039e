"""``tenure agent`` and ``tenure agent status``: what they print, and their exit codes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tenure
from tenure.registry import Instance, Registry

from .processes import Command


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite://{tmp_path}/store.db"


@pytest.fixture
def sock(tmp_path: Path) -> Path:
    return tmp_path / "agent.sock"


@pytest.fixture
def agent(url: str, sock: Path) -> Iterator[Command]:
    """One that follows its store."""
    with Command("agent", "--json", "--socket", str(sock), url=url) as command:
        command.err.record(type="following")
        yield command


def run(*arguments: str, url: str = "memory://none") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tenure.cli", *arguments],
        env={**os.environ, "TENURE_URL": url},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_other_signals_end_it_too(agent: Command, sock: Path, number: int) -> None:
    agent.signal(number)
    assert agent.wait() == 128 + number
    assert not sock.exists()


def test_it_serves_until_a_signal_and_leaves_nothing(agent: Command, url: str, sock: Path) -> None:
    number = signal.SIGTERM
    assert agent.err.seen[0].count('"mode": "0600"') == 1
    through = f"agent+unix://{sock}?store={url}"
    with tenure.connect(through) as store, Registry(store, instance=Instance("web", id="1", port=80)):
        found = run("--json", "instances", "web", url=through)
        assert [each["id"] for each in json.loads(found.stdout)] == ["1"]
        status = json.loads(run("agent", "status", "--json", "--socket", str(sock)).stdout)
        assert (status["age"], status["source"], status["entries"], status["programs"]) == (0.0, "store", 1, 2)
        shown = run("agent", "status", "--socket", str(sock), "--max-age", "0")
        assert shown.returncode == 0
        assert "state\tthe agent follows its store\n" in shown.stdout
        assert "agent " in run("doctor", "--read-only", through).stdout
    agent.signal(number)
    assert agent.wait() == 128 + number
    assert json.loads(agent.err.rest()[-1])["type"] == "ended"
    assert not sock.exists()


def test_a_second_one_is_refused(agent: Command, url: str, sock: Path) -> None:
    second = run("agent", "--socket", str(sock), url=url)
    assert second.returncode == 3
    assert f"another agent has this socket (process {agent.process.pid})" in second.stderr
    assert "Traceback" not in second.stderr


def test_nobody_listens(sock: Path) -> None:
    found = run("agent", "status", "--socket", str(sock))
    assert found.returncode == 3
    assert "nothing is there; start 'tenure agent" in found.stderr


def test_old_fails_if_asked(sock: Path) -> None:
    """The store has never been reached: the agent starts, and says so."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"redis://127.0.0.1:{taken.getsockname()[1]}"
        with Command("agent", "--json", "--socket", str(sock), url=url) as command:
            assert command.err.record(type="away")["age"] is None
            assert run("agent", "status", "--socket", str(sock)).returncode == 0
            old = run("agent", "status", "--socket", str(sock), "--max-age", "60")
            assert old.returncode == 1
            assert "has not reached its store" in old.stderr
            # Programs get an answer, and no wait.
            refused = run("services", url=f"agent+unix://{sock}")
            assert refused.returncode == 3
            assert "has not reached its store" in refused.stderr
            command.signal(signal.SIGTERM)
            assert command.wait() == 128 + signal.SIGTERM


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--mode", "777"], 2, "mode"),
        (["--mode", "rw"], 2, "is no mode such as"),
        (["--mode", "0060"], 2, "mode"),
        (["--warm-file", "/nowhere/at/all"], 2, "which is no folder"),
        (["--socket", "/nowhere/at/all"], 2, "there is no folder"),
        (["--socket", "/" + "x" * 200], 2, "at most 107"),
    ],
)
def test_what_is_wrong_is_said_at_once(arguments: list[str], code: int, said: str, sock: Path, url: str) -> None:
    socket_given = [] if "--socket" in arguments else ["--socket", str(sock)]
    found = run("agent", *socket_given, *arguments, url=url)
    assert (found.returncode, "Traceback" in found.stderr) == (code, False)
    assert said in found.stderr


def test_it_tells_systemd(url: str, sock: Path, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"{tmp_path}/notify")
        manager.settimeout(60)
        with Command("agent", "--socket", str(sock), url=url, NOTIFY_SOCKET=f"{tmp_path}/notify") as command:
            assert manager.recv(100) == b"READY=1"
            command.signal(signal.SIGTERM)
            assert manager.recv(100) == b"STOPPING=1"


def test_the_warm_file_is_there_at_the_next_start(url: str, sock: Path, tmp_path: Path) -> None:
    arguments = ("agent", "--json", "--socket", str(sock), "--warm-file", f"{tmp_path}/warm")
    with tenure.connect(url) as store, Registry(store, instance=Instance("web", id="1", port=80)):
        with Command(*arguments, url=url) as first:
            assert first.err.record(type="following")["entries"] == 1
            first.signal(signal.SIGTERM)
            first.wait()
        with Command(*arguments, url=url) as second:
            loaded = second.err.record(type="loaded")
            assert loaded["entries"] == 1
            assert 0 <= loaded["age"] < 3600
            second.err.record(type="following")
