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
        outage = tracker.look(watch.staleness, watch.outage)
        if outage is not None:
            yield outage
        if batch is not None:
            yield batch


def show_outage(out: Output, outage: Outage, *, meanwhile: str) -> None:
    """Print one line about an outage; ``meanwhile`` is its consequence for the output.

    It is a remark for people, on stderr: stdout has changes alone. With ``--json`` it is a record among the others.
    """
    if out.json:
        out.event(_record(outage))
    elif outage.over:
        out.note(f"{clock_time()}  the store is back after {seconds(outage.age)}")
    else:
        why = "" if outage.cause is None else f": {outage.cause}"
        out.note(f"{clock_time()}  no changes from the store for {seconds(outage.age)}; {meanwhile}{why}")


def _record(outage: Outage) -> dict[str, Any]:
    record: dict[str, Any] = {
        "time": iso_time(),
        "type": "reconnected" if outage.over else "outage",
        "seconds": round(outage.age, 3),
    }
    if outage.cause is not None:
        record |= {"error": type(outage.cause).__name__, "reason": str(outage.cause)}
    return record


def show_resync(out: Output, batch: Batch, *, changes: int) -> None:
    """Print one line about a gap, after which the difference follows."""
    out.event(
        {"time": iso_time(), "type": "resync", "reason": batch.reason, "revision": batch.revision, "changes": changes},
        (clock_time() + "  ", "dim"),
        (f"resync: {batch.reason}; {changes or 'no'} differences{' follow' if changes else ''}", "yellow"),
    )
