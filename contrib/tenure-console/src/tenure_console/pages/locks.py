"""Locks, semaphores and elections: who holds, since when, with which token, and who waits."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from tenure.recipes.survey import Place
from tenure_console.following.picture import lock_of
from tenure_console.pages.site import Site, paged

_WAITERS = 12


@dataclass(frozen=True, slots=True)
class Held:
    """One name with its participants."""

    kind: str
    name: str
    holders: list[Place]
    waiters: list[Place]
    more_waiters: int


def locks(site: Site, request: Request) -> Response:
    """Show who holds and who waits, by name."""
    wanted = request.query_params.get("q", "").casefold()
    groups: dict[str, list[Place]] = {}
    for place in site.picture.places():
        groups.setdefault(lock_of(place), []).append(place)
    rows = [row for places in groups.values() if _matches(row := _held(places), wanted)]
    rows.sort(key=lambda row: (row.kind, row.name))
    shown, page = paged(rows, request, size=50)
    return site.render(request, "locks.html", here="locks", rows=shown, page=page, q=request.query_params.get("q", ""))


def _held(places: list[Place]) -> Held:
    waiters = [place for place in places if not place.holds]
    kind = places[0].kind.removeprefix("shared ")
    return Held(
        kind,
        places[0].name,
        [place for place in places if place.holds],
        waiters[:_WAITERS],
        max(0, len(waiters) - _WAITERS),
    )


def _matches(row: Held, wanted: str) -> bool:
    return wanted in row.name.casefold() or any(wanted in place.owner.casefold() for place in row.holders + row.waiters)
