"""``tenure watch``: services as they come and go.

The registry calls handlers on a thread of its own. They only queue events, and the main thread prints them. So a slow
terminal delays nothing, and lines never mix.
"""

from __future__ import annotations

import queue
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from tenure._outages import OutageTracker
from tenure._text import clock_time, iso_time, ordinal, plural, seconds
from tenure.cli.commands.services import describe_meta, opened_registry
from tenure.cli.completion import service_names
from tenure.cli.options import Settings, common, settings
from tenure.cli.ui.outages import show_outage
from tenure.cli.ui.output import Output, Styled
from tenure.hookspecs import hookimpl

if TYPE_CHECKING:
    from tenure.registry import InstanceEvent, Registry, StatusChange

_LOOK = 0.25
_MOST_GONE = 10_000
_MARKS = {"create": ("+", "green"), "upsert": ("~", "yellow"), "delete": ("-", "red"), "snapshot": ("=", "dim")}


@dataclass(frozen=True, slots=True)
class _Change:
    event: InstanceEvent
    at: datetime


@dataclass(frozen=True, slots=True)
class _Resync:
    reason: str
    at: datetime


@dataclass(slots=True)
class _News:
    """Everything to print, in the order in which it happened."""

    queue: queue.SimpleQueue[Any] = field(default_factory=queue.SimpleQueue)

    def change(self, event: InstanceEvent) -> None:
        self.queue.put(_Change(event, _now()))

    def status(self, change: StatusChange) -> None:
        if change.part == "cache" and change.status == "failed":
            self.queue.put(change)

    @hookimpl
    def tenure_watch_resynced(self, reason: str) -> None:
        self.queue.put(_Resync(reason, _now()))


@click.command(short_help="Show services as they come and go.")
@click.argument("service", required=False, shell_complete=service_names)
@click.option("--changes", type=click.IntRange(min=1), metavar="N", help="End after N changes.")
@common(registry=True)
@settings
def watch(options: Settings, *, service: str | None, changes: int | None) -> None:
    """Show the instances of SERVICE, or of all services, then changes until Ctrl-C.

    It continues after outages of the store, and shows how stale its data are. With --json each line has a "type":
    snapshot, synced, create, upsert, delete, resync, outage or reconnected. An outage has an "error" and a "reason"
    once its cause is known; without --json it is a remark on stderr. A comeback has "away_seconds", and
    "returns": how often it has come back since the command began.
    """
    out = options.output
    news = _News()
    with opened_registry(options, observers=[news]) as registry:
        registry.add_status_handler(news.status)
        present = [
            instance.identity()
            for name, found in registry.get_services().items()
            for instance in found
            if service in (None, name)
        ]
        registry.add_handler(news.change, service=service, replay=True)
        _follow(out, registry, news.queue, set(present), changes)


def _follow(
    out: Output, registry: Registry, news: queue.SimpleQueue[Any], present: set[str], changes: int | None
) -> None:
    """Print until ``changes`` were shown. The first event of each in ``present`` is the state, not a change."""
    tracker, absences = OutageTracker(), _Absences()
    total, in_sync = len(present), False
    while True:
        if not in_sync and not present:
            in_sync = True
            _show_in_sync(out, total, registry.store.url)
        try:
            item = news.get(timeout=_LOOK)
        except queue.Empty:
            item = None
            present.clear()  # no delete comes for an instance that left during the start
        outage = tracker.look(registry.staleness, registry.error)
        if outage is not None:
            show_outage(out, outage, meanwhile="the instances shown are the last known")
        if isinstance(item, _Resync):
            out.event(
                {"time": iso_time(item.at), "type": "resync", "reason": item.reason},
                (clock_time(item.at) + "  ", "dim"),
                (f"resync: {item.reason}; differences follow, if there are any", "yellow"),
            )
        elif isinstance(item, _Change):
            identity = item.event.instance.identity()
            away = absences.ended_by(item.event, item.at)
            show_change(out, item.event, item.at, snapshot=identity in present, away=away)
            if identity in present:
                present.discard(identity)
            elif changes is not None:
                changes -= 1
                if not changes:
                    return
        elif item is not None:
            raise item.error


def _show_in_sync(out: Output, count: int, url: str) -> None:
    out.event(
        {"time": iso_time(), "type": "synced", "instances": count},
        (clock_time() + "  ", "dim"),
        (f"{plural(count, 'instance')} in {url}; changes follow, Ctrl-C ends", "dim"),
    )


def show_change(
    out: Output,
    event: InstanceEvent,
    at: datetime,
    *,
    snapshot: bool = False,
    lead: str = "",
    away: tuple[float, int] | None = None,
) -> None:
    """Print one line for one event; ``lead`` replaces the time of day.

    ``away``: how many seconds the instance was gone, and how often it has come back.
    """
    kind = "snapshot" if snapshot else str(event.type)
    out.event(
        {
            "time": iso_time(at),
            "type": kind,
            "service": event.instance.service_name,
            "instance": event.instance.to_dict(),
            **({} if away is None else {"away_seconds": round(away[0], 3), "returns": away[1]}),
        },
        (lead or clock_time(at) + "  ", "dim"),
        *change_pieces(event, kind),
        ("" if away is None else f"  back after {seconds(away[0])}, {ordinal(away[1])} time", "yellow"),
    )


def change_pieces(event: InstanceEvent, kind: str) -> list[Styled]:
    """Return an event for people: what happened, to which instance, where, and what changed."""
    mark, style = _MARKS[kind]
    instance = event.instance
    word = "" if kind == "snapshot" else kind
    pieces: list[Styled] = [
        (f"{mark} {word:<7}", style),
        (f"{instance.service_name} ", f"bold {style}"),
        (f"{instance.id:<5} ", ""),
        (instance.address, "cyan"),
    ]
    if kind == "upsert" and event.previous is not None:
        difference = _difference(dict(event.previous.meta), dict(instance.meta))
        moved = f" was {event.previous.address}" if event.previous.address != instance.address else ""
        return [*pieces, (f"  {difference or 'written again'}{moved}", "yellow")]
    meta = describe_meta(instance.meta)
    return [*pieces, (f"  {meta}" if meta else "", "dim"), ("" if instance.ready else f"  {instance.status}", "yellow")]


def _difference(before: dict[str, object], now: dict[str, object]) -> str:
    """Return what changed in the metadata: ``version=1→2 zone=b status=draining old-``."""
    parts = [
        f"{name}={before[name]}→{value}" if name in before else f"{name}={value}"
        for name, value in now.items()
        if before.get(name) != value or name not in before
    ]
    parts += [f"{name} removed" for name in before if name not in now]
    return " ".join(parts)


@dataclass(slots=True)
class _Absences:
    """Which instances have gone, when, and how often each came back."""

    gone: dict[str, datetime] = field(default_factory=dict)
    times: dict[str, int] = field(default_factory=dict)

    def ended_by(self, event: InstanceEvent, at: datetime) -> tuple[float, int] | None:
        """Take an event in. Returns the seconds of the absence that it ends, and how many have ended."""
        identity = event.instance.identity()
        if event.type == "delete":
            self.gone[identity] = at
            while len(self.gone) > _MOST_GONE:  # those that restart have another id each time
                oldest = next(iter(self.gone))
                del self.gone[oldest]
                self.times.pop(oldest, None)
            return None
        since = self.gone.pop(identity, None)
        if since is None:
            return None
        self.times[identity] = self.times.get(identity, 0) + 1
        return max(0.0, (at - since).total_seconds()), self.times[identity]


def _now() -> datetime:
    return datetime.now().astimezone()
