"""Watching from the shell: batches of a store's watch, and how long it has been without its store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tenure._text import clock_time, iso_time, seconds
from tenure.cli.ui.output import Output
from tenure.watch import Batch, Watch

_LOOK = 0.5
_REMIND = 30.0


@dataclass(frozen=True, slots=True)
class Outage:
    """The connection has been broken for ``age`` seconds; ``over`` says that it stands again."""

    age: float
    over: bool = False


class OutageTracker:
    """Turns "seconds without connection", asked now and then, into what is worth telling."""

    def __init__(self) -> None:
        self._told = 0.0
        self._age = 0.0

    def look(self, age: float) -> Outage | None:
        """The news since the last look, if there is any: begun, still going on (every 30 s), over."""
        if age > 0:
            self._age = age
            if self._told == 0.0 or age - self._told >= _REMIND:
                self._told = age
                return Outage(age)
            return None
        if self._told:
            ended = Outage(self._age, over=True)
            self._told = self._age = 0.0
            return ended
        return None


def follow(watch: Watch) -> Iterator[Batch | Outage]:
    """Batches as they come, and outages as they begin and end."""
    tracker = OutageTracker()
    while True:
        batch = watch.next(_LOOK)
        outage = tracker.look(watch.staleness)
        if outage is not None:
            yield outage
        if batch is not None:
            yield batch


def show_outage(out: Output, outage: Outage, *, meanwhile: str) -> None:
    """One line about an outage; ``meanwhile`` says what that means for what is shown."""
    record: dict[str, Any] = {
        "time": iso_time(),
        "type": "reconnected" if outage.over else "outage",
        "seconds": round(outage.age, 3),
    }
    if outage.over:
        text = f"the store is back after {seconds(outage.age)}"
    else:
        text = f"no connection to the store for {seconds(outage.age)}; {meanwhile}"
    out.event(record, (clock_time() + "  ", "dim"), (text, "green" if outage.over else "yellow"))


def show_resync(out: Output, batch: Batch, *, changes: int) -> None:
    """One line that says there was a gap and that the difference follows."""
    out.event(
        {"time": iso_time(), "type": "resync", "reason": batch.reason, "revision": batch.revision, "changes": changes},
        (clock_time() + "  ", "dim"),
        (f"resync: {batch.reason}; {changes or 'no'} differences{' follow' if changes else ''}", "yellow"),
    )
