"""What each view of the terminal shows, as plain rows of the picture. Knows nothing of the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from tenure.plugin_kit import wall_clock
from tenure_console.following.entries import Entry
from tenure_console.following.picture import Picture
from tenure_console.following.timeline import Change
from tenure_console.looks.amounts import clock, duration, size
from tenure_console.looks.text import plain
from tenure_console.looks.values import preview

MOST = 300
"""Rows of a view; more of them are counted."""
LEGENDS = {
    "bound": "> 5 min: it was there before this display began; the store records no times",
    "unsure": "expired?: its lease ended, or a client deleted the key; the store doesn't say which",
}
"""What cells of a meaning stand for, which the view says below its rows."""
_EXPIRED = "expired?"
_MARKS = {"create": "+", "update": "~", "delete": "-", "gap": "!"}


@dataclass(frozen=True, slots=True)
class Cell:
    """A text with its meaning: ``good``, ``warn``, ``bad``, ``faint``, ``strong``, one of ``LEGENDS``, or none."""

    text: str
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One line. ``name`` stays the same while what it is about changes."""

    name: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A view at one moment. ``more`` counts the rows that it leaves out."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    empty: str
    more: int = 0

    @property
    def legend(self) -> str:
        """What cells of these rows stand for, if they don't say so themselves."""
        meanings = {cell.tone for row in self.rows for cell in row.cells}
        return "   ".join(text for meaning, text in LEGENDS.items() if meaning in meanings)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person asked for.

    Attributes:
        text: what rows have to contain, in any case.
        service: the service whose instances are shown; ``None`` for all services.
        values: whether values are shown.
    """

    text: str = ""
    service: tuple[str, str] | None = None
    values: bool = False


def services(picture: Picture, asked: Asked) -> Table:
    """Show the services, or the instances of one."""
    if asked.service is not None:
        return _instances(picture, asked.service, asked)
    rows = (
        Row("/".join(name), _service(picture, name, entries))
        for name, entries in sorted(picture.services().items())
        if _contains(asked, name[1])
    )
    return _table(("SERVICE", "REGISTRY", "READY", "DRAINING", "ZONES", "LAST CHANGE"), rows, "nothing is registered")


def _service(picture: Picture, name: tuple[str, str], entries: list[Entry]) -> tuple[Cell, ...]:
    found = [entry.instance for entry in entries if entry.instance is not None]
    ready = sum(row.ready for row in found)
    zones = Counter(row.zone for row in found if row.zone).most_common(3)
    changed = max((entry.changed for entry in entries if entry.changed is not None), default=None)
    return (
        Cell(plain(name[1], 40), "strong"),
        Cell(plain(name[0], 20), "faint"),
        Cell(f"{ready} of {len(found)}", "good" if ready == len(found) else "warn" if ready else "bad"),
        Cell(str(len(found) - ready) if ready < len(found) else ""),
        Cell("  ".join(f"{plain(zone, 16)} {count}" for zone, count in zones), "faint"),
        _age(changed, picture),
    )


def _instances(picture: Picture, service: tuple[str, str], asked: Asked) -> Table:
    rows = (
        Row(
            entry.key,
            (
                Cell(plain(row.id, 40), "strong"),
                Cell(plain(row.address, 44)),
                Cell(plain(row.problem or row.status, 16), "bad" if row.problem else "good" if row.ready else "warn"),
                Cell("" if row.problem else f"{row.weight:g}"),
                Cell(plain(row.zone, 16)),
                Cell(plain(row.host_name, 24), "faint"),
                _age(entry.since, picture),
            ),
        )
        for entry in picture.service(service)
        if (row := entry.instance) is not None and _contains(asked, row.id, row.address, row.host_name, row.zone)
    )
    return _table(("INSTANCE", "ADDRESS", "STATUS", "WEIGHT", "ZONE", "HOST", "AGE"), rows, "no instance is registered")


def locks(picture: Picture, asked: Asked) -> Table:
    """Show who holds and who waits."""
    now = wall_clock()
    rows = (
        Row(
            place.key,
            (
                Cell(plain(place.name, 40), "strong" if place.holds else "faint"),
                Cell(place.kind, "faint"),
                Cell("holds" if place.holds else "waits", "good" if place.holds else "warn"),
                Cell(plain(place.owner, 40)),
                Cell(str(place.token) if place.holds else ""),
                Cell("" if place.asked is None else duration(now - place.asked)),
            ),
        )
        for place in picture.places()
        if _contains(asked, place.name, place.owner)
    )
    return _table(("NAME", "KIND", "STATE", "OWNER", "TOKEN", "ASKED"), rows, "nothing is held")


def leases(picture: Picture, asked: Asked) -> Table:
    """Show the leases that keys are under."""
    found = ((picture.owner_of_lease(lease), lease, entries) for lease, entries in picture.leases().items())
    rows = (
        Row(
            lease,
            (
                Cell(plain(owner, 40) or "unknown", "strong" if owner else "faint"),
                Cell(plain(lease, 24), "faint"),
                Cell(str(len(entries))),
                Cell(plain(entries[0].key, 60) if entries else ""),
            ),
        )
        for owner, lease, entries in sorted(found, key=lambda each: (not each[0], each[0], each[1]))
        if _contains(asked, owner, lease, *(entry.key for entry in entries[:3]))
    )
    return _table(("BELONGS TO", "LEASE", "KEYS", "FIRST KEY"), rows, "no key has a lease")


def keys(picture: Picture, asked: Asked) -> Table:
    """Show the keys that contain a text."""
    found, in_all = picture.search(asked.text, most=MOST)
    rows = (
        Row(
            entry.key,
            (
                Cell(plain(entry.key, 60), "strong"),
                Cell(size(entry.size)),
                Cell(plain(entry.lease_id or "", 18), "faint"),
                Cell(str(entry.mod_revision), "faint"),
                _age(entry.changed, picture),
                _value(entry.value, asked),
            ),
        )
        for entry in found
    )
    made = _table(("KEY", "SIZE", "LEASE", "REVISION", "LAST CHANGE", "VALUE"), rows, "there is no such key")
    return Table(made.columns, made.rows, made.empty, in_all - len(found))


def timeline(picture: Picture, asked: Asked) -> Table:
    """Show the last changes."""
    rows = (
        Row(
            str(change.number),
            (
                Cell(clock(change.time), "faint"),
                Cell(_MARKS[change.kind], {"create": "good", "update": "", "delete": "bad"}.get(change.kind, "bad")),
                Cell(plain(change.key, 52), "strong"),
                _author(change),
                Cell(str(change.revision), "faint"),
                _value(change.after if change.kind != "delete" else change.before, asked),
            ),
        )
        for change in picture.changes(text=asked.text, most=MOST)
    )
    return _table(("TIME", "", "KEY", "BY", "REVISION", "VALUE"), rows, "nothing has changed since this began")


VIEWS: dict[str, Callable[[Picture, Asked], Table]] = {
    "services": services,
    "locks": locks,
    "leases": leases,
    "keys": keys,
    "timeline": timeline,
}
"""Each view by its name, in the order of the tabs."""


def _value(value: bytes | None, asked: Asked) -> Cell:
    if not asked.values:
        return Cell("hidden", "faint")
    return Cell("large" if value is None else plain(preview(value, 60), 60), "" if value else "faint")


def _age(moment: float | None, picture: Picture) -> Cell:
    """Return how long ago a moment was, or that it was before the display began."""
    if moment is None:
        return Cell(f"> {duration(wall_clock() - picture.began)}", "bound")
    return Cell(duration(wall_clock() - moment))


def _author(change: Change) -> Cell:
    """Return who made a change, as far as is known. Of a delete under a lease it isn't."""
    if not change.who and change.kind == "delete" and change.lease_id is not None:
        return Cell(_EXPIRED, "unsure")
    return Cell(plain(change.who, 24))


def _contains(asked: Asked, *fields: str) -> bool:
    wanted = asked.text.casefold()
    return not wanted or any(wanted in field.casefold() for field in fields)


def _table(columns: Sequence[str], rows: Iterable[Row], empty: str) -> Table:
    found = tuple(rows)
    return Table(tuple(columns), found[:MOST], empty, max(0, len(found) - MOST))
