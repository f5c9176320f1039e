"""The table of a watch's states is what the machine does: in every short story, and nothing in it is made up."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable

import pytest

from tenure.errors import Compacted, HistoryReplaced, InvalidArgument, PermissionDenied, Unavailable
from tenure.spi import KeyValue
from tenure.spi.capabilities import Capabilities
from tenure.spi.feed import Snapshot
from tenure.watch.machine import TRANSITIONS, WatchMachine, WatchSettings, WatchState
from tenure_memory.capabilities import CAPABILITIES

LENGTH = 4
"""Events of a story: enough for each state to be reached and left in each way."""


class Story:
    """A machine, and what an engine does with it."""

    def __init__(self, *, lossless: bool, resumes: bool) -> None:
        capabilities: Capabilities = dataclasses.replace(CAPABILITIES, lossless_watch=lossless)
        settings = WatchSettings("", False, 0, False, 5 if resumes else None, 10)
        self.machine = WatchMachine(settings, capabilities)
        self.now = 0.0
        self.open = False

    def opens(self) -> None:
        if self.machine.error is None and not self.open:
            self.machine.opened(self.machine.request(), self.now)
            self.open = True

    def delivers(self) -> None:
        if self.open and self.machine.error is None:
            while self.machine.first_batch():
                self.machine.deliver()
            self.machine.take(Snapshot((KeyValue("a", b"1", 6, 6 + int(self.now), None),), 6 + int(self.now)))

    def is_slow(self) -> None:
        if self.open and self.machine.error is None and self.machine.state is WatchState.CONNECTED:
            self.machine.overflowed(11, self.now)
            self.open = False

    def fails(self, error: type[Exception]) -> Callable[[], None]:
        def fail() -> None:
            if self.machine.error is not None:
                return
            made = error("a test", oldest_revision=9) if error is Compacted else error("a test")
            if self.open:
                self.machine.failed(made, self.now, self.now)
                self.open = False
            else:
                self.machine.not_opened(made)

        return fail

    @property
    def events(self) -> list[Callable[[], None]]:
        errors = (Unavailable, Compacted, HistoryReplaced, PermissionDenied, InvalidArgument)
        return [self.opens, self.delivers, self.is_slow, *map(self.fails, errors)]


def changes(*, lossless: bool, resumes: bool) -> set[tuple[WatchState, WatchState]]:
    found = set()
    number = len(Story(lossless=lossless, resumes=resumes).events)
    for story in itertools.product(range(number), repeat=LENGTH):
        told = Story(lossless=lossless, resumes=resumes)
        # Most stories begin with a watch that has opened: what matters comes afterwards.
        for event in (0, *story):
            before = told.machine.state
            told.events[event]()
            told.now += 1
            if told.machine.state is not before:
                found.add((before, told.machine.state))
    return found


@pytest.fixture(scope="module")
def seen() -> set[tuple[WatchState, WatchState]]:
    kinds = itertools.product((False, True), repeat=2)
    return set().union(*(changes(lossless=lossless, resumes=resumes) for lossless, resumes in kinds))


def test_each_change_of_state_is_in_the_table_and_each_of_the_table_happens(
    seen: set[tuple[WatchState, WatchState]],
) -> None:
    table = {(source, target) for source, targets in TRANSITIONS.items() for target in targets}
    assert sorted(seen - table) == []
    assert sorted(table - seen) == []


def test_the_table_has_every_state() -> None:
    assert set(TRANSITIONS) == set(WatchState)
