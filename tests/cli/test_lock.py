"""`tenure lock`: one command at a time, dead before another holder can have the lock, whatever happens to `tenure`."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tenure
from tenure.cli.ui.errors import LOST, NOT_ACQUIRED
from tenure_testkit.waiting import until

from .processes import Command, read_terminal

TTL = 4.0
"""Where the lock is lost: long enough for a start on a busy machine."""
STUBBORN = "trap '' TERM; echo up $$ $TENURE_TOKEN; while :; do sleep 0.05; done"
"""A shell that SIGTERM does not end."""


@pytest.fixture
def store(file_url: str) -> Iterator[tenure.Store]:
    with tenure.connect(file_url) as opened:
        yield opened


def lock(url: str, *command: str, options: tuple[str, ...] = (), ttl: float = 30.0) -> Command:
    return Command("lock", "job", "--ttl", str(ttl), *options, "--", *command, url=url)


def is_alive(pid: int) -> bool:
    """Whether there is such a process, and it is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def started(command: Command) -> tuple[int, int]:
    """The process id of a shell that said so, and its token."""
    words = command.out.with_text("up").split()
    return int(words[1]), int(words[2])


def guardian_of(command: Command) -> int:
    found = subprocess.run(["pgrep", "-P", str(command.process.pid)], capture_output=True, text=True, check=True)
    return int(found.stdout.split()[0])


def is_free(store: tenure.Store) -> bool:
    held = tenure.Lock(store, "job").try_acquire()
    return held is not None and held.release()


def test_one_command_at_a_time_with_a_token_that_grows(file_url: str) -> None:
    with lock(file_url, "sh", "-c", "echo up $$ $TENURE_TOKEN; read -r line || sleep 0.3") as first:
        pid, before = started(first)
        with lock(file_url, "sh", "-c", "echo up $$ $TENURE_TOKEN") as second:
            _, after = started(second)
            assert not is_alive(pid)
            assert second.wait() == 0
        assert first.wait() == 0  # it gives the lock back before it closes its store
    assert after > before


def test_the_command_knows_name_and_key(file_url: str, store: tenure.Store) -> None:
    code = (
        "import os, tenure\n"
        "with tenure.connect(os.environ['TENURE_URL']) as store:\n"
        "    change = store.transaction().put('result', os.environ['TENURE_TOKEN_NAME'].encode())\n"
        "    change.if_unchanged(os.environ['TENURE_TOKEN_KEY'], revision=int(os.environ['TENURE_TOKEN'])).commit()\n"
    )
    with lock(file_url, sys.executable, "-c", code) as command:
        assert command.wait() == 0
    found = store.get("result")
    assert found is not None
    assert found.value == b"job"


@pytest.mark.parametrize(("script", "expected"), [("exit 0", 0), ("exit 3", 3), ("kill -9 $$", 137)])
def test_the_exit_code_is_the_commands(file_url: str, store: tenure.Store, script: str, expected: int) -> None:
    with lock(file_url, "sh", "-c", script) as command:
        assert command.wait() == expected
    assert is_free(store)
    assert not store.list("tenure/").items


def test_a_lock_not_got_in_time_is_told_by_the_exit_code(file_url: str, store: tenure.Store) -> None:
    with tenure.Lock(store, "job").hold():
        for options in (("--no-wait",), ("--wait", "0.2")):
            with lock(file_url, "true", options=options) as command:
                assert command.wait() == NOT_ACQUIRED
        assert len(store.list("tenure/").items) == 1
    assert is_free(store)


def test_readers_share_and_exclude_a_plain_lock(file_url: str, store: tenure.Store) -> None:
    with tenure.ReadWriteLock(store, "job").read.hold():
        with lock(file_url, "true", options=("--shared", "--no-wait")) as shared:
            assert shared.wait() == 0
        with lock(file_url, "true", options=("--no-wait",)) as alone:
            assert alone.wait() == NOT_ACQUIRED


def test_permits_of_a_semaphore(file_url: str, store: tenure.Store) -> None:
    options = ("--semaphore", "2", "--no-wait")
    with tenure.Semaphore(store, "job", limit=2).hold():
        with lock(file_url, "true", options=options) as one:
            assert one.wait() == 0
        with tenure.Semaphore(store, "job", limit=2).hold(), lock(file_url, "true", options=options) as two:
            assert two.wait() == NOT_ACQUIRED


def test_a_signal_during_the_wait_leaves_nothing(file_url: str, store: tenure.Store) -> None:
    with tenure.Lock(store, "job").hold():
        with lock(file_url, "true") as command:
            command.err.with_text("waiting for the lock")
            command.signal(signal.SIGTERM)
            assert command.wait() == 128 + signal.SIGTERM
        assert len(store.list("tenure/").items) == 1


def test_signals_go_to_the_whole_group_and_are_waited_for(file_url: str, store: tenure.Store) -> None:
    script = "trap 'echo ending; sleep 0.3; exit 7' TERM; echo up $$ 0; while :; do sleep 0.05; done"
    with lock(file_url, "sh", "-c", script) as command:
        started(command)
        command.signal(signal.SIGTERM)
        command.out.with_text("ending")
        assert not is_free(store)
        assert command.wait() == 7
    assert is_free(store)


def test_it_is_released_when_nothing_of_the_group_is_left(file_url: str, store: tenure.Store) -> None:
    with lock(file_url, "sh", "-c", "sleep 1000 & echo up $! 0") as command:
        left, _ = started(command)
        assert command.wait() == 0
        assert not is_alive(left)
    assert is_free(store)


def stopped(command: Command) -> None:
    command.signal(signal.SIGSTOP)


def killed(command: Command) -> None:
    command.signal(signal.SIGKILL)


@pytest.mark.parametrize("harm", [stopped, killed])
@pytest.mark.parametrize("also_stopped", [False, True])
def test_the_command_is_dead_before_another_holder_starts(
    file_url: str, store: tenure.Store, harm: object, *, also_stopped: bool
) -> None:
    with lock(file_url, "sh", "-c", STUBBORN, ttl=TTL) as command:
        pid, token = started(command)
        if also_stopped:
            os.kill(pid, signal.SIGSTOP)
        harm(command)  # type: ignore[operator]
        with tenure.Lock(store, "job").hold(timeout=30) as held:
            assert not is_alive(pid)
            assert held.token > token
        command.signal(signal.SIGCONT)
        if harm is stopped:
            assert command.wait() == LOST


def test_a_process_that_left_the_group_is_killed_on_a_loss(file_url: str, store: tenure.Store) -> None:
    with lock(file_url, "setsid", "--wait", "sh", "-c", STUBBORN, ttl=TTL) as command:
        pid, _ = started(command)
        command.signal(signal.SIGSTOP)
        with tenure.Lock(store, "job").hold(timeout=30):
            assert not is_alive(pid)
        command.signal(signal.SIGCONT)
        assert command.wait() == LOST


def test_sigterm_comes_first(file_url: str) -> None:
    script = "trap 'echo told; exit 5' TERM; echo up $$ 0; while :; do sleep 0.01; done"
    with lock(file_url, "sh", "-c", script, ttl=TTL) as command:
        started(command)
        command.signal(signal.SIGSTOP)
        command.out.with_text("told")
        command.signal(signal.SIGCONT)
        assert command.wait() == LOST, command.err.rest()
        assert "lost the lock 'job'" in command.err.rest()[-1]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_without_a_guardian_there_is_no_command(file_url: str, store: tenure.Store, number: int) -> None:
    with lock(file_url, "setsid", "--wait", "sh", "-c", STUBBORN, options=("--json",)) as command:
        pid, _ = started(command)
        os.kill(guardian_of(command), number)
        if number == signal.SIGSTOP:
            store.delete_prefix("tenure/")  # a loss that only tenure can act upon
        code = command.wait()
        assert not is_alive(pid)
        assert code == (LOST if number == signal.SIGSTOP else 128 + signal.SIGKILL)
    assert is_free(store)


def test_a_key_removed_from_the_store_ends_the_command(file_url: str, store: tenure.Store) -> None:
    with lock(file_url, "sh", "-c", STUBBORN, options=("--json",)) as command:
        pid, _ = started(command)
        store.delete_prefix("tenure/")
        command.err.record(type="lost")
        assert command.wait() == LOST
        assert not is_alive(pid)


def test_with_all_processes_stopped_the_next_guarded_write_is_refused(file_url: str, store: tenure.Store) -> None:
    code = (
        "import os, signal, tenure\n"
        "with tenure.connect(os.environ['TENURE_URL']) as store:\n"
        "    store.get('x')\n"
        "    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGCONT])\n"
        "    print('up', os.getpid(), os.environ['TENURE_TOKEN'], flush=True)\n"
        "    signal.sigwait([signal.SIGCONT])\n"
        "    change = store.transaction().put('result', b'late')\n"
        "    change.if_unchanged(os.environ['TENURE_TOKEN_KEY'], revision=int(os.environ['TENURE_TOKEN'])).commit()\n"
    )
    with lock(file_url, sys.executable, "-c", code, ttl=TTL) as command:
        pid, _ = started(command)
        guardian = guardian_of(command)
        for one in (command.process.pid, guardian, pid):
            os.kill(one, signal.SIGSTOP)
        with tenure.Lock(store, "job").hold(timeout=30):
            os.kill(pid, signal.SIGCONT)  # the command alone continues, and nothing hinders its write but the store
            until(lambda: not is_alive(pid), what="the end of the command")
        for one in (guardian, command.process.pid):
            os.kill(one, signal.SIGCONT)
        assert command.wait() == LOST
    assert store.get("result") is None


def test_each_event_is_one_json_object(file_url: str) -> None:
    with lock(file_url, "true", options=("--json",)) as command:
        acquired = command.err.record(type="acquired")
        assert (acquired["name"], acquired["token"] > 0) == ("job", True)
        assert command.err.record(type="released")["code"] == 0
        assert command.out.rest() == []


def test_a_command_that_is_not_there(file_url: str, store: tenure.Store) -> None:
    with lock(file_url, "no-such-command-here") as command:
        assert command.wait() == 127
        assert "nothing was acquired" in command.err.rest()[-1]
    assert not store.list("tenure/").items


@pytest.mark.parametrize(
    "arguments",
    [
        ["lock", "job"],
        ["lock", "job", "--wait", "1", "--no-wait", "--", "true"],
        ["lock", "job", "--shared", "--semaphore", "2", "--", "true"],
        ["lock", "job", "--ttl", "0", "--", "true"],
        ["lock", "", "--", "true"],
        ["elect", "job"],
    ],
)
def test_wrong_usage_is_exit_code_2(file_url: str, arguments: list[str]) -> None:
    with Command(*arguments, url=file_url) as command:
        assert command.wait() == 2
        assert not any("Traceback" in line for line in command.err.rest())


def on_terminal(script: str, url: str) -> tuple[subprocess.Popen[bytes], int]:
    """`tenure lock` on a terminal of its own, in the foreground; and the other side of the terminal."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        ["setsid", "--ctty", sys.executable, "-m", "tenure.cli", "lock", "job", "--", "sh", "-c", script],
        env={**os.environ, "TENURE_URL": url},
        stdin=follower,
        stdout=follower,
        stderr=follower,
    )
    os.close(follower)
    return process, leader


@pytest.mark.parametrize(("keys", "expected"), [(b"hello\n", b"got hello"), (b"\x1ahello\n", b"got hello")])
def test_a_command_may_read_from_the_terminal(file_url: str, keys: bytes, expected: bytes) -> None:
    process, leader = on_terminal("echo up; read line; echo got $line; read line", file_url)
    try:
        read_until(leader, b"up")
        until(lambda: os.tcgetpgrp(leader) != os.getpgid(process.pid), what="the terminal in the command's hands")
        os.write(leader, keys)
        read_until(leader, expected)
        os.write(leader, b"\x03")
        assert process.wait(60) == 130
    finally:
        process.kill()
        process.wait()
        os.close(leader)


def test_ctrl_c_reaches_a_command_that_does_not_read(file_url: str, store: tenure.Store) -> None:
    process, leader = on_terminal("trap 'echo told; exit 9' INT; echo up; while :; do sleep 0.05; done", file_url)
    try:
        read_until(leader, b"up")
        os.write(leader, b"\x03")
        read_until(leader, b"released")
        assert process.wait(60) == 9
    finally:
        process.kill()
        process.wait()
        os.close(leader)
    assert is_free(store)


def read_until(leader: int, wanted: bytes) -> None:
    """Read the terminal up to ``wanted``."""
    text = b""
    while wanted not in text:
        text += read_terminal(leader)


def test_after_its_deadline_a_command_is_never_started(tmp_path: Path) -> None:
    code = (
        "import os, sys, time\n"
        "from tenure.cli.process import guardian\n"
        "from tenure.cli.process.guarded import Guarded\n"
        "guarded = Guarded(['touch', sys.argv[1]], os.environ, kill_at=guardian.now(), grace=1.0)\n"
        "while (end := guarded.poll()) is None:\n"
        "    time.sleep(0.01)\n"
        "print(end.lost)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "started")]  # apart, as all its children are killed
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "True\n"
    assert not (tmp_path / "started").exists()
