"""`tenure run`: registered exactly while the command runs, signals go through, the exit code is the command's."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

import tenure
from tenure._runtime.clock import ManualClock
from tenure.cli.commands.run import _DRAIN_MARK
from tenure.cli.process.registration import GOODBYE, Reporter, StatusReporter
from tenure.errors import ServiceNotFound
from tenure.registry import Instance, Part, Registry, RegistryConfig, Status, StatusChange

from .processes import DEADLINE, Command, read_terminal

_GRACEFUL = """
import signal, sys

# Taken one at a time: a handler that is interrupted by the next signal while it prints can't print again.
numbers = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1}
signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
print('up', flush=True)
while True:
    number = signal.sigwait(numbers)
    print('got', int(number), flush=True)
    if number in (signal.SIGTERM, signal.SIGINT):
        sys.exit(7)
"""
GRACEFUL = [sys.executable, "-c", _GRACEFUL]


@pytest.fixture
def registry(file_url: str) -> Iterator[Registry]:
    with tenure.connect(file_url) as store, Registry(store, RegistryConfig()) as opened:
        yield opened


def gone(registry: Registry, service: str = "web") -> None:
    """Wait until the service has no instance."""
    deadline = time.monotonic() + DEADLINE
    while service in registry.get_services():
        assert time.monotonic() < deadline, f"{service} is still registered"
        registry.store.get_with_revision("x")  # one look at the store per round, instead of sleeping


def run(url: str, *command: str, options: tuple[str, ...] = ()) -> Command:
    return Command("run", "web", "--port", "8000", *options, "--", *command, url=url)


def test_it_is_registered_while_the_command_runs(file_url: str, registry: Registry) -> None:
    options = ("--host", "10.0.0.7", "--id", "me", "--meta", "zone=a", "--meta", "empty=")
    with run(file_url, *GRACEFUL, options=options) as command:
        command.out.with_text("up")
        [instance] = registry.wait_for("web", 1, DEADLINE)
        assert (instance.id, instance.address) == ("me", "10.0.0.7:8000")
        assert dict(instance.meta) == {"zone": "a", "empty": ""}
        command.signal(signal.SIGTERM)
        assert command.wait() == 7
        assert f"got {int(signal.SIGTERM)}" in command.out.rest()
    gone(registry)


def test_sigterm_marks_it_as_draining_before_the_command_hears_of_it(file_url: str, registry: Registry) -> None:
    statuses: list[str] = []
    registry.add_handler(lambda event: statuses.append(f"{event.type} {event.instance.status}"))
    with run(file_url, *GRACEFUL) as command:
        command.out.with_text("up")
        command.signal(signal.SIGTERM)
        command.wait()
    gone(registry)
    registry.close()
    assert statuses == ["create ready", "upsert draining", "delete draining"]


def test_other_signals_go_through_without_draining(file_url: str, registry: Registry) -> None:
    with run(file_url, *GRACEFUL) as command:
        command.out.with_text("up")
        for number in (signal.SIGHUP, signal.SIGUSR1):
            command.signal(number)
            command.out.with_text(f"got {int(number)}")
        [instance] = registry.get_service("web")
        assert instance.ready
        command.signal(signal.SIGINT)
        command.out.with_text(f"got {int(signal.SIGINT)}")
        assert command.wait() == 7


@pytest.mark.parametrize(("code", "expected"), [("pass", 0), ("raise SystemExit(3)", 3)])
def test_the_exit_code_is_the_commands(file_url: str, registry: Registry, code: str, expected: int) -> None:
    with run(file_url, sys.executable, "-c", code) as command:
        assert command.wait() == expected
    assert "web" not in registry.get_services() or gone(registry) is None


def test_a_command_ended_by_a_signal(file_url: str) -> None:
    with run(file_url, sys.executable, "-c", "import os; os.kill(os.getpid(), 9)") as command:
        assert command.wait() == 128 + signal.SIGKILL


def test_a_command_that_is_not_there(file_url: str, registry: Registry) -> None:
    with run(file_url, "no-such-command-here") as command:
        assert command.wait() == 127
        [line] = command.err.rest()
    assert "no-such-command-here" in line
    assert "nothing was registered" in line


def test_a_command_that_can_not_be_executed(file_url: str, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("no program")
    with run(file_url, str(plain)) as command:
        assert command.wait() == 126
    plain.chmod(0o755)
    plain.write_bytes(b"\x7fELF broken")
    with run(file_url, str(plain)) as command:
        assert command.wait() == 126
        assert any("can't start" in line for line in command.err.rest())


def test_a_store_that_is_down_starts_no_command(tmp_path: Path) -> None:
    started = tmp_path / "started"
    with run(f"sqlite://{tmp_path}/no/such/folder.db", "touch", str(started)) as command:
        assert command.wait() in (2, 3)
        assert len(command.err.rest()) == 1
    assert not started.exists()


@contextlib.contextmanager
def locked(url: str) -> Iterator[None]:
    """Keep every other process from writing to the store's file."""
    connection = sqlite3.connect(url.removeprefix("sqlite://"), isolation_level=None, timeout=DEADLINE)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
    finally:
        connection.close()


@pytest.mark.parametrize("by_url", [False, True])
def test_it_may_start_before_its_store(file_url: str, registry: Registry, *, by_url: bool) -> None:
    url, options = (f"{file_url}?wait_for_store={DEADLINE}", ()) if by_url else (file_url, ("--wait", str(DEADLINE)))
    with locked(file_url), run(url, *GRACEFUL, options=(*options, "--timeout", "0.5")) as command:
        command.err.with_text("waiting for the store")
        with pytest.raises(ServiceNotFound):
            registry.get_service("web")
        command.signal(signal.SIGTERM)  # an end in the middle of it is taken at once
        assert command.wait() == 128 + signal.SIGTERM
    with run(url, *GRACEFUL, options=(*options, "--timeout", "0.5")) as command:
        with locked(file_url):
            pass
        command.out.with_text("up")
        registry.wait_for("web", 1, DEADLINE)
        command.signal(signal.SIGTERM)
        assert command.wait() == 7


@pytest.mark.parametrize("options", [(), ("--quiet",), ("--json",)])
def test_it_says_deregistered_only_if_the_store_has_confirmed_it(
    file_url: str, registry: Registry, options: tuple[str, ...]
) -> None:
    with run(file_url, *GRACEFUL, options=(*options, "--timeout", "1")) as command:
        command.out.with_text("up")
        registry.wait_for("web", 1, DEADLINE)
        with locked(file_url):
            command.signal(signal.SIGTERM)
            assert command.wait() == 7
            said = "\n".join(command.err.rest())
    assert "could not confirm" in said
    assert "deregistered web" not in said
    assert '"type": "deregistered"' not in said


def test_the_end_takes_less_than_a_container_engine_waits() -> None:
    assert GOODBYE + _DRAIN_MARK < 10


def test_the_command_gets_its_signals_unblocked_and_sigpipe_back(file_url: str) -> None:
    with run(file_url, "grep", "-E", "SigBlk|SigIgn", "/proc/self/status", options=("-q",)) as command:
        assert command.wait() == 0
        lines = command.out.rest()
    # Signals 32 and 33 are the C library's own.
    assert [int(line.split()[1], 16) & 0x7FFFFFFF for line in lines] == [0, 0]


def test_when_it_is_killed_the_command_ends_and_the_lease_does_the_rest(file_url: str, registry: Registry) -> None:
    with run(file_url, *GRACEFUL, options=("--heartbeat", "1")) as command:
        command.out.with_text("up")
        registry.wait_for("web", 1, DEADLINE)
        began = time.monotonic()
        command.signal(signal.SIGKILL)
        command.out.with_text(f"got {int(signal.SIGTERM)}")
    gone(registry)
    limits = registry.store.capabilities
    assert time.monotonic() - began < limits.max_lifetime_after_refresh(1) + limits.max_watch_latency + 5


def test_remarks_go_to_stderr_and_quiet_has_none(file_url: str) -> None:
    with run(file_url, "echo", "hello") as command:
        assert command.wait() == 0
        assert command.out.rest() == ["hello"]
        said = command.err.rest()
    assert ["registered" in said[0], "deregistered" in said[-1]] == [True, True]
    with run(file_url, "echo", "hello", options=("--quiet",)) as command:
        assert command.wait() == 0
        assert command.err.rest() == []


def test_ctrl_c_on_a_terminal_reaches_the_command_once(file_url: str, registry: Registry) -> None:
    """The terminal sends it to both; passing it on as well would interrupt the command's own winding up."""
    code = (
        "import signal\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])\n"
        "print('up', flush=True)\n"
        "signal.sigwait([signal.SIGINT])\n"
        "again = signal.sigtimedwait([signal.SIGINT], 0.5)\n"  # long enough for a second one to arrive
        "print('interrupts', 2 if again else 1, flush=True)\n"
    )
    arguments = ("run", "web", "--port", "1")
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        ["setsid", "--ctty", sys.executable, "-m", "tenure.cli", *arguments, "--", sys.executable, "-c", code],
        env={**os.environ, "TENURE_URL": file_url},
        stdin=follower,
        stdout=follower,
        stderr=follower,
    )
    os.close(follower)
    try:
        text = read_until(leader, b"up")
        os.write(leader, b"\x03")
        text = read_until(leader, b"interrupts", text)
        text = read_until(leader, b"deregistered", text)
        assert process.wait(DEADLINE) == 0
    finally:
        process.kill()
        process.wait()
        os.close(leader)
    assert b"interrupts 1" in text
    gone(registry)


def read_until(terminal: int, wanted: bytes, text: bytes = b"") -> bytes:
    """``text`` and what follows it, up to ``wanted`` at least: one read may have brought several lines."""
    while wanted not in text:
        text += read_terminal(terminal)
    return text


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "web", "--port", "8000"],
        ["run", "web", "--", "true"],
        ["run", "web", "--port", "70000", "--", "true"],
        ["run", "web", "--port", "1", "--meta", "novalue", "--", "true"],
        ["run", "web", "--port", "1", "--heartbeat", "0", "--", "true"],
        ["run", "web", "--port", "1", "--id", "a/b", "--", "true"],
        ["register", "web"],
    ],
)
def test_wrong_usage_is_exit_code_2(file_url: str, arguments: list[str]) -> None:
    with Command(*arguments, url=file_url) as command:
        assert command.wait() == 2
        assert not any("Traceback" in line for line in command.err.rest())


def test_register_stays_until_it_is_asked_to_end(file_url: str, registry: Registry) -> None:
    with Command("register", "db", "--port", "5432", "--json", url=file_url) as command:
        made = command.err.record(type="registered")["instance"]
        [instance] = registry.wait_for("db", 1, DEADLINE)
        assert instance.to_dict() == made
        command.signal(signal.SIGUSR1)
        command.err.record(type="draining")
        command.signal(signal.SIGUSR2)
        command.err.record(type="ready")
        command.signal(signal.SIGTERM)
        assert command.wait() == 128 + signal.SIGTERM
    gone(registry, "db")


def test_an_identity_that_is_taken(file_url: str) -> None:
    arguments = ("register", "db", "--port", "5432", "--id", "me", "--host", "h")
    with Command(*arguments, url=file_url) as first:
        first.err.with_text("registered")
        with Command(*arguments, url=file_url) as second:
            assert second.wait() == 1
            assert "me" in second.err.rest()[-1]
        with Command(*arguments, "--wait", "20", url=file_url) as third:
            first.signal(signal.SIGTERM)
            first.wait()
            third.err.with_text("registered")
            third.signal(signal.SIGINT)
            assert third.wait() == 130


def test_a_loss_is_told_with_time_process_cause_and_count(capsys: pytest.CaptureFixture[str]) -> None:
    """What an operator reads who has this one log: which instance, when, why, how long, how often."""
    clock = ManualClock(100.0)
    lease = SimpleNamespace(ttl=10.0, alive=False, last_refreshed=80.0)
    told = StatusReporter(
        cast(
            "Registry",
            SimpleNamespace(
                lease=lease,
                current=lambda: Instance("web", id="one", host="192.0.2.2", port=8002),
                store=SimpleNamespace(clock=clock),
            ),
        ),
        Reporter(json=False, quiet=False, stamped=True),
    )
    for _ in range(2):
        lease.last_refreshed = clock.now() - 20.0
        told(StatusChange(Part.REGISTRATION, Status.RECOVERING, "its lease was lost: no refresh was tried"))
        told(StatusChange(Part.REGISTRATION, Status.RECOVERING, "x; attempt 1 failed, next in 0.1 s"))
        clock.jump(15.4)
        told(StatusChange(Part.REGISTRATION, Status.REGISTERED, "web/one is registered again"))
    lead = rf"\d\d:\d\d:\d\d tenure\[{os.getpid()}\]: "
    lost, waits, _back, *_, back = capsys.readouterr().err.splitlines()
    assert re.fullmatch(lead + r"lost web/one 192\.0\.2\.2:8002 \(TTL 10 s\): no refresh was tried", lost)
    assert re.fullmatch(lead + r"not registered again yet: x; attempt 1 failed, next in 0\.1 s", waits)
    assert re.fullmatch(lead + r"registered: web/one is registered again after 35\.4 s, 2nd time since the start", back)
