"""A consumer that is interrupted at any line (a time limit, Ctrl-C) and continues: each batch once, none lost."""

from __future__ import annotations

import gc
import linecache
import sys
import threading
from typing import Self

import pytest

import tenure
from tenure import BatchType
from tenure.errors import Compacted, InvalidArgument
from tenure.spi import Changes, Deleted, Snapshot
from tenure_testkit.waiting import until

from .doubles import ScriptedBackend, item
from .watching import kinds, started

WATCH = "tenure/watch/"


class Limit(Exception):
    """What a signal handler raises."""


class InterruptAt:
    """Raises ``Limit`` once, at the n-th line that the watch's modules run while it is active."""

    def __init__(self, line: int) -> None:
        self.left = line
        self._withs: set[tuple[int, int]] = set()

    def __enter__(self) -> Self:
        sys.settrace(self._enter)
        return self

    def __exit__(self, *error: object) -> None:
        sys.settrace(None)

    def _enter(self, frame, event, argument):
        return self._line if WATCH in frame.f_code.co_filename else None

    def _line(self, frame, event, argument):
        if event == "return":
            # Frames themselves are not kept: an interpreter may not expect that of one that ended in an exception.
            self._withs = {(key, line) for key, line in self._withs if key != id(frame)}
        elif event == "line" and not self._leaves_a_with(frame) and not _follows_a_delete(frame):
            self.left -= 1
            if self.left == 0:
                raise Limit
        return self._line

    def _leaves_a_with(self, frame):
        """Whether a ``with`` is about to release what it holds: the interpreter lets no signal handler run there."""
        text = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
        if not text.startswith("with "):
            return False
        place = (id(frame), frame.f_lineno)
        again = place in self._withs
        self._withs ^= {place}
        return again


def _follows_a_delete(frame):
    """Whether nothing has happened since a ``del``, after which the interpreter looks for no signal."""
    before = linecache.getline(frame.f_code.co_filename, frame.f_lineno - 1).strip()
    return before.startswith("del ")


class InterruptAfterCall:
    """The same after the n-th call of a C function: there, too, the interpreter looks for signals."""

    def __init__(self, call: int) -> None:
        self.left = call

    def __enter__(self) -> Self:
        sys.setprofile(self._seen)
        return self

    def __exit__(self, *error: object) -> None:
        sys.setprofile(None)

    def _seen(self, frame, event, argument):
        if event == "c_return" and WATCH in frame.f_code.co_filename:
            self.left -= 1
            if self.left == 0:
                raise Limit


WAYS = [InterruptAt, InterruptAfterCall]


def read(watch, line, way=InterruptAt):
    """Read all that is there, and interrupt the reading at one line. Returns the batches, and whether it was met."""
    batches = []
    with way(line) as interrupt:
        while True:
            try:
                batch = watch.next(0.0)
            except Limit:
                continue
            if batch is None:
                return batches, interrupt.left <= 0
            batches.append(batch)


def changes(feed):
    feed.deliver(Changes((item("a", 6), item("b", 6)), 6))
    feed.deliver(Changes((Deleted("a", 7), item("a", 8, created=8)), 8))
    feed.deliver(Changes((Deleted("b", 9),), 9))


EXPECTED = [
    [("create", "a", 6), ("create", "b", 6)],
    [("delete", "a", 7), ("create", "a", 8)],
    [("delete", "b", 9)],
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("previous", [False, True])
def test_changes_are_delivered_once_whatever_line_is_interrupted(open_store, previous, way):
    line, met = 1, True
    while met:
        backend = ScriptedBackend()
        watch, feed = started(open_store(backend), backend, previous=previous)
        changes(feed)
        batches, met = read(watch, line, way)
        assert [kinds(batch) for batch in batches] == EXPECTED, f"interrupted at line {line}"
        assert watch.revision == 9
        watch.close()
        line += 1
    assert line > (100 if way is InterruptAt else 30)


@pytest.mark.parametrize("way", WAYS)
def test_the_state_and_a_difference_are_delivered_once_whatever_line_is_interrupted(open_store, way):
    line, met = 1, True
    while met:
        backend = ScriptedBackend()
        watch = open_store(backend).watch("")
        backend.feed(0).deliver(Snapshot((item("a", 1), item("b", 2)), 2))
        first, met = read(watch, line, way)
        assert [batch.type for batch in first] == [BatchType.SNAPSHOT, BatchType.SYNCED], f"interrupted at line {line}"
        backend.feed(0).fail(Compacted("gone"))
        watch._not_before = 0.0
        assert watch.next(0.0) is None
        watch._not_before = 0.0
        assert watch.next(0.0) is None
        backend.feed(1).deliver(Snapshot((item("a", 3),), 5))
        second, met_again = read(watch, line, way)
        assert [(batch.type, kinds(batch)) for batch in second] == [
            (BatchType.RESYNC, [("update", "a", 3), ("delete", "b", 5)])
        ], f"interrupted at line {line}"
        met = met or met_again
        watch.close()
        line += 1
    assert line > (50 if way is InterruptAt else 20)


def test_a_thread_that_was_interrupted_keeps_no_other_out(open_store):
    backend = ScriptedBackend()
    watch, feed = started(open_store(backend), backend)
    changes(feed)

    def interrupted():
        for line in range(1, 200):
            with InterruptAt(line):
                try:
                    watch.next(0.0)
                except Limit:
                    continue

    thread = threading.Thread(target=interrupted)
    thread.start()
    thread.join()
    assert watch.next(0.0) is None


def test_a_watch_that_is_dropped_ends():
    with tenure.connect("memory://dropped") as store:
        for _ in range(20):
            for batch in store.watch("a"):
                assert batch.type is BatchType.SNAPSHOT
                break
        gc.collect()
        assert len(store._open_watches.live) == 0
        store.watch("a")
        gc.collect()
        # The last one goes with the next call, or with the store.
        until(lambda: (store.get("a"), not len(store._backend._server._watches))[1])


def test_a_watch_with_a_callback_lives_on_without_being_held():
    told = threading.Event()
    with tenure.connect("memory://held") as store:
        store.watch("a", callback=lambda batch: told.set() if batch.type is BatchType.CHANGES else None)
        gc.collect()
        store.put("a", b"")
        assert told.wait(60.0)


def test_a_batch_that_another_thread_has_taken_is_no_crash(open_store):
    backend = ScriptedBackend()
    watch, feed = started(open_store(backend), backend)
    feed.deliver(Changes((item("a", 6),), 6))
    assert watch._wait(0.0)
    assert watch.next(0.0) is not None
    with pytest.raises(InvalidArgument, match="one consumer at a time"):
        watch._machine.deliver()
