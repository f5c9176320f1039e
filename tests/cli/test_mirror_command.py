"""`tenure mirror` as a process: its output, its signals, its end."""

from __future__ import annotations

import signal
from pathlib import Path

import tenure
from tenure.migration.mirror_lock import LOCK

from .mirrors import DEADLINE, content, equal, lease_of
from .processes import Command


def test_as_a_process_between_files(tmp_path: Path) -> None:
    first, second = f"sqlite://{tmp_path / 'from.db'}", f"sqlite://{tmp_path / 'to.db'}"
    with tenure.connect(first) as source, tenure.connect(second) as target:
        source.put("a", b"1")
        source.put("b", b"2", lease=source.lease(60))
        with Command("mirror", first, second, "--json", "--lease-grace", "20", url=first) as command:
            assert command.err.record(type="synced")["written"] == 2
            source.put("c", b"3")
            source.delete("a")
            equal(source, target)
            with Command("mirror", first, second, url=first) as other:
                assert other.wait() == 1
                assert "another mirror is writing" in other.err.rest()[-1]
            command.signal(signal.SIGTERM)
            assert command.err.record(type="stopped")["deleted"] == 1
            assert command.wait() == 128 + signal.SIGTERM
        assert content(target) == {"b": b"2", "c": b"3"}
        source.delete("c")
        with Command("mirror", first, second, url=first) as command:
            command.err.with_text("in sync, 1 key: 1 written, 1 deleted")
            command.signal(signal.SIGINT)
            command.err.with_text("stopped")
            assert command.wait() == 130
        assert content(target) == {"b": b"2"}


def test_a_killed_mirror_is_followed_by_another_without_a_gap(tmp_path: Path) -> None:
    first, second = f"sqlite://{tmp_path / 'from.db'}", f"sqlite://{tmp_path / 'to.db'}"
    arguments = ("mirror", first, second, "--json", "--lease-grace", "300")
    with tenure.connect(first) as source, tenure.connect(second) as target:
        source.put("service", b"1", lease=source.lease(60))
        with Command(*arguments, url=first) as command:
            command.err.record(type="synced")
            command.signal(signal.SIGKILL)
            command.wait()
        before = lease_of(target, "service")
        target.revoke_lease(lease_of(target, LOCK))  # what time would do
        with target.watch("service") as watch, Command(*arguments, url=first) as command:
            assert command.err.record(type="synced")["written"] == 1
            target.put("service/last", b"")
            told: list[tenure.Event] = []
            while not told or told[-1].key != "service/last":
                batch = watch.next(DEADLINE)
                assert batch is not None
                told.extend(batch.events)
            assert [event.type for event in told] == ["create", "update", "create"]
            assert lease_of(target, "service") != before
