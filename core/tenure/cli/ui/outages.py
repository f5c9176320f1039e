"""Watching from the shell: batches of a store's watch, and how long it has been without its store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tenure._outages import Outage, OutageTracker
from tenure._text import clock_time, iso_time, seconds
from tenure.cli.ui.output import Output
from tenure.watch import Batch, Watch

_LOOK = 0.5


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
    """Print one line about an outage; ``meanwhile`` is its consequence for the output."""
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
    """Print one line about a gap, after which the difference follows."""
    out.event(
        {"time": iso_time(), "type": "resync", "reason": batch.reason, "revision": batch.revision, "changes": changes},
        (clock_time() + "  ", "dim"),
        (f"resync: {batch.reason}; {changes or 'no'} differences{' follow' if changes else ''}", "yellow"),
    )
