"""``tenure kv watch``: the keys as they are, then each change as it comes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

import click

from tenure._outages import Outage
from tenure._text import clock_time, decode, iso_time, preview
from tenure.cli.completion import key_names
from tenure.cli.options import Settings, common, settings
from tenure.cli.ui.outages import follow, show_outage, show_resync
from tenure.cli.ui.output import Output
from tenure.errors import Compacted
from tenure.watch import Batch, BatchType, Event, EventType

if TYPE_CHECKING:
    from tenure import Store

_OLDEST = "oldest"
_MARKS = {EventType.CREATE: ("+", "green"), EventType.UPDATE: ("~", "yellow"), EventType.DELETE: ("-", "red")}


def _revision(ctx: click.Context, param: click.Parameter, value: str | None) -> int | str | None:
    if value is None or value == _OLDEST:
        return value
    if not value.isascii() or not value.isdecimal():
        raise click.BadParameter(f'{value!r} is no revision: give a number or "{_OLDEST}"', ctx, param)
    return int(value)


@click.command()
@click.argument("key", required=False, shell_complete=key_names)
@click.option("--prefix", metavar="TEXT", help="Keys that start with TEXT. Default: all of the namespace.")
@click.option(
    "--after",
    callback=_revision,
    metavar="REVISION",
    help='Every change since then, not the state; "oldest" for all that the store keeps.',
)
@click.option("--changes", type=click.IntRange(min=1), metavar="N", help="End after N changes, the state not counted.")
@common()
@settings
def watch(
    options: Settings, *, key: str | None, prefix: str | None, after: int | str | None, changes: int | None
) -> None:
    """Show the present state of KEY or of a prefix, then changes until Ctrl-C.

    It continues after outages of the store; after a gap it prints resync and the difference. With --json each
    line has a "type": snapshot, create, update, delete, synced, resync, outage or reconnected. An outage has an
    "error" and a "reason" once its cause is known; without --json it is a remark on stderr.

    \b
    tenure kv watch --prefix PREFIX --after oldest

    shows the history that the store keeps. The time of a line, "time" with --json, is when the command saw the change.
    A change that was there before the command has no time for people, and "earlier": true with --json.
    """
    if key is not None and prefix is not None:
        raise click.UsageError("give either a KEY or --prefix TEXT")
    out = options.output
    left = changes
    with options.connect() as store:
        # What is older happened before this command looked, and that time would be taken for the change's.
        started = 0 if after is None else store.get_with_revision(key or prefix or "tenure").revision
        for news in _follow(store, key if key is not None else prefix or "", after):
            if isinstance(news, Outage):
                show_outage(out, news, meanwhile="changes are shown when it is back")
                continue
            events = [event for event in news.events if key is None or event.key == key]
            _show(out, news, events, started)
            if left is not None and news.type is not BatchType.SNAPSHOT:
                left -= len(events)
                if left <= 0:
                    return


def _follow(store: Store, prefix: str, after: int | str | None) -> Iterator[Batch | Outage]:
    """Batches and outages. The oldest revision is known from the refusal of an older one, and may be trimmed away."""
    revision = 0 if after == _OLDEST else cast("int | None", after)
    begun = False
    while True:
        try:
            with store.watch(prefix, after=revision) as watching:
                for news in follow(watching):
                    begun = begun or isinstance(news, Batch)
                    yield news
        except Compacted as exc:
            if after != _OLDEST or begun or revision is None or exc.oldest_revision <= revision:
                raise
            revision = exc.oldest_revision


def _show(out: Output, batch: Batch, events: list[Event], started: int) -> None:
    if batch.type is BatchType.RESYNC:
        show_resync(out, batch, changes=len(events))
    if batch.type is BatchType.SYNCED:
        out.event(
            {"time": iso_time(), "type": "synced", "revision": batch.revision},
            (clock_time() + "  ", "dim"),
            (f"in sync at revision {batch.revision}; changes follow, Ctrl-C ends", "dim"),
        )
    for event in events:
        mark, style = _MARKS[event.type]
        if batch.type is BatchType.SNAPSHOT:
            mark, style = "=", "dim"
        value = "" if event.item is None else f" = {preview(event.item.value)}"
        record, time = _record(event, batch), clock_time()
        if event.revision <= started:
            record["earlier"], time = True, "earlier     "
        out.event(
            record,
            (time + "  ", "dim"),
            (mark + " ", style),
            (event.key, f"bold {style}"),
            (value, ""),
            (f"  @{event.revision}", "dim"),
        )


def _record(event: Event, batch: Batch) -> dict[str, Any]:
    record: dict[str, Any] = {
        "time": iso_time(),
        "type": "snapshot" if batch.type is BatchType.SNAPSHOT else str(event.type),
        "key": event.key,
        "revision": event.revision,
    }
    if event.item is not None:
        value, encoding = decode(event.item.value)
        record |= {"value": value, "encoding": encoding, "lease_id": event.item.lease_id}
    return record
