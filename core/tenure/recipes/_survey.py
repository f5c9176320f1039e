"""Who holds and who waits, read from the store: for people who look, and for ``tenure locks``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tenure._client.store import Store
from tenure.errors import InvalidArgument
from tenure.recipes import _names
from tenure.recipes._owner import asked_at, fields_of
from tenure.recipes._queue import Ticket, Turn, View, view_of
from tenure.recipes._single_key import HOLDER, value_of
from tenure.recipes.election import leads
from tenure.recipes.read_write_lock import ReadersTogether, is_reader
from tenure.recipes.semaphore import FirstOnes
from tenure.spi.types import KeyValue, LeaseId

KINDS = ("lock", "semaphore", "election")
"""Kinds of recipes that hold something; each has folders of its own."""


@dataclass(frozen=True, slots=True)
class Place:
    """One participant's place.

    Attributes:
        kind: ``lock``, ``shared lock``, ``semaphore`` or ``election``.
        name: the name that participants share.
        holds: whether it holds; otherwise it waits.
        owner: who it is, as it says itself.
        token: the fencing token, 0 while it waits.
        asked: when it asked, in seconds since 1970 by its own clock; ``None`` if it doesn't tell.
        key: its key in the store.
        revision: the revision of the key's last put.
        lease_id: the lease of its session.
    """

    kind: str
    name: str
    holds: bool
    owner: str
    token: int
    asked: float | None
    key: str
    revision: int
    lease_id: LeaseId | None


def survey(store: Store, name: str | None = None, *, kinds: Iterable[str] = KINDS) -> list[Place]:
    """Return the places of ``name``, or of all names, in the order in which they hold and wait."""
    places: list[Place] = []
    for kind in kinds:
        folders: dict[str, list[KeyValue]] = {}
        for item in store.list(_names.ROOT + kind + "/" if name is None else _names.folder(kind, name)).items:
            folders.setdefault(item.key[: item.key.rindex("/") + 1], []).append(item)
        for folder, items in folders.items():
            places += _places(kind, folder, items)
    return places


def _places(kind: str, folder: str, items: list[KeyValue]) -> Iterable[Place]:
    name = _names.unescape(folder.split("/")[2])
    for item in items:
        if item.key == folder + HOLDER:
            ticket = Ticket(item.key, item.create_revision, value_of(item.value), item.mod_revision, item.lease_id)
            yield _place(kind, name, ticket, holds=True)
    view = view_of(folder, items)
    for ticket in view.tickets:
        yield _place(kind, name, ticket, holds=_holds(kind, name, view, ticket))


def _holds(kind: str, name: str, view: View, ticket: Ticket) -> bool:
    if kind == "election":
        return leads(ticket)
    turn: Turn = ReadersTogether() if kind == "lock" else FirstOnes(name)
    try:
        return turn.blocker(view, ticket) is None
    except InvalidArgument:
        return False  # a participant that is about to be refused


def _place(kind: str, name: str, ticket: Ticket, *, holds: bool) -> Place:
    fields = fields_of(ticket.value)
    return Place(
        "shared lock" if is_reader(ticket) else kind,
        name,
        holds,
        str(fields.get("owner", "")),
        ticket.revision if holds else 0,
        asked_at(fields),
        ticket.key,
        ticket.revision,
        ticket.lease_id,
    )
