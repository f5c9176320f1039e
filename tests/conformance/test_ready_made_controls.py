"""Ready-made controls: each control returns when its effect is there, and fails loudly when it isn't."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tenure
from tenure.conformance import ServerControls
from tenure.conformance.controls import ready_made
from tenure.conformance.controls.ready_made import ControlFailed, ServerProcess, answers, for_container, from_commands
from tenure.errors import ConfigError, Unavailable
from tenure_testkit.servers.redis import RedisServer
from tenure_testkit.servers.redis_plugin import need_redis


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    need_redis()
    with RedisServer() as server:
        yield server


def test_commands_become_controls(tmp_path: Path):
    controls = from_commands({"kill": f"touch {tmp_path}/killed", "compact": f"touch {tmp_path}/compacted"})
    assert [name for name in ("kill", "start", "compact") if controls.offers(name)] == ["kill", "compact"]
    controls.do("kill")
    controls.do("compact")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["compacted", "killed"]


def test_a_name_that_is_no_control_is_refused():
    with pytest.raises(ConfigError, match="no such control: explode; choose from: kill, start"):
        from_commands({"explode": "true"})


def test_a_command_that_fails_says_what_it_said():
    controls = from_commands({"kill": "echo no such server; exit 3"})
    with pytest.raises(ControlFailed, match=r"'kill' failed: .* status 3: no such server"):
        controls.do("kill")


def test_a_control_without_effect_is_an_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ready_made, "CONTROL_TIMEOUT", 0.2)
    controls = from_commands({"kill": "true"}, url="memory://still-there")
    with pytest.raises(ControlFailed, match="still answers"):
        controls.do("kill")


def test_a_container_that_is_not_there_is_told():
    need_redis()
    with pytest.raises(ConfigError, match="the container 'tenure-no-such-thing'"):
        for_container("tenure-no-such-thing", "redis://127.0.0.1:1")


def exercise(controls: ServerControls, url: str) -> None:
    with tenure.connect(url, timeout=5.0) as store:
        store.put("key", b"1")
        controls.do("pause")
        with pytest.raises(Unavailable):
            store.get("key", timeout=0.3)
        controls.do("resume")
        assert store.get("key") is not None
        controls.do("kill")
        assert not answers(url)
        controls.do("start")
        assert store.get("key", timeout=20.0) is not None


def test_a_container_is_driven_by_its_name(server: RedisServer):
    exercise(for_container(server.container_id, server.url), server.url)


def test_shell_commands_drive_a_server(server: RedisServer):
    name = shlex.quote(server.container_id)
    commands = {"kill": "kill", "start": "start", "pause": "pause", "resume": "unpause"}
    exercise(
        from_commands({control: f"docker {verb} {name}" for control, verb in commands.items()}, url=server.url),
        server.url,
    )


def test_a_process_is_killed_started_and_frozen(monkeypatch: pytest.MonkeyPatch):
    command = [sys.executable, "-c", "import sys; sys.stdin.read() or __import__('time').sleep(60)"]

    def running(url: str) -> bool:
        try:
            state = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return False
        return state not in "TZ"

    first = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    process = ServerProcess(first.pid, command, url="memory://")
    monkeypatch.setattr(ready_made, "answers", running)
    controls = process.controls()
    try:
        controls.do("pause")
        os.waitid(os.P_PID, first.pid, os.WSTOPPED | os.WNOWAIT)
        assert not running("")
        controls.do("resume")
        controls.do("kill")
        assert first.wait(60.0) == -signal.SIGKILL
        controls.do("start")
        assert process.pid != first.pid
        controls.do("kill")
        assert not running("")
    finally:
        first.kill()
        first.wait(10)
