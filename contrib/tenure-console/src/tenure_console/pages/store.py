"""The store itself: what it guarantees, its limits and caveats, and what the doctor finds."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from tenure.diagnosis import caveats_of, examine_store
from tenure.plugin_kit import wall_clock
from tenure.spi.capabilities import Guarantee, Limit, field_notes
from tenure.spi.diagnosis import Finding
from tenure_console.looks import amounts
from tenure_console.pages.site import Site

_SAMPLES = 5
_MINUTE = 60


@dataclass(frozen=True, slots=True)
class Examined:
    """What the doctor found, and when."""

    time: float
    checks: tuple[Finding, ...]


class StorePages:
    """The store's page. Remembers the doctor's last visit, for all who look."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._examined: Examined | None = None

    def show(self, request: Request) -> Response:
        """Show the store."""
        store, notes = self._site.store, field_notes()
        declared = store.capabilities.as_dict()
        return self._site.render(
            request,
            "store.html",
            here="store",
            server=store.server_info(),
            guarantees=[
                (name.replace("_", " "), bool(value), note.text)
                for name, value in declared.items()
                if isinstance(note := notes[name], Guarantee)
            ],
            limits=[
                (name.replace("_", " "), _limit(name, value, note.unit), note.text)
                for name, value in declared.items()
                if isinstance(note := notes[name], Limit)
            ],
            caveats=caveats_of(store.url),
            examined=self._examined,
        )

    def examine(self, request: Request) -> Response:
        """Have the doctor look at the store. Without the right to write it only reads."""
        store = self._site.store
        # The store that is open already: its URL here lacks the password.
        found = examine_store(store, samples=_SAMPLES, read_only=not self._site.writes)
        # Nothing was found out about opening it.
        checks = tuple(check for check in found.checks if check.name != "open")
        self._examined = Examined(wall_clock(), checks)
        return self._site.back(request, "store")


def _limit(name: str, value: float, unit: str) -> str:
    if unit == "bytes":
        return amounts.size(value)
    if unit != "seconds":
        return f"{value:,g}"
    if name == "ttl_granularity" and value == 0:
        return "any"  # a TTL stays as it is
    if 0 < value < 1:
        return f"{value * 1000:g} ms"
    # A limit is exact, other than a duration, which is rounded.
    return f"{value:g} s" if value < _MINUTE else amounts.duration(value)
