"""Who holds and who waits for locks, permits and terms: for people who look, and for programs that show them.

Nothing here takes part: a survey reads what participants wrote, and :func:`release` is for an operator.
"""

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
_DEPTH = 3
"""Slashes in a participant's key, at least."""


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
    """Read who holds and who waits, in the order in which they hold and wait.

    Args:
        store: the store.
        name: the name that participants share; ``None`` for all names.
        kinds: which of :data:`KINDS` to read, each by one list.

    Returns:
        The places, by kind and name.

    Raises:
        InvalidArgument: the name is empty, too long, or no text without NUL.
        TenureError: what :meth:`tenure.Store.list` raises.
    """
    places: list[Place] = []
    for kind in kinds:
        prefix = prefix_of(kind) if name is None else _names.folder(kind, name)
        places += places_of(kind, store.list(prefix).items)
    return places


def prefix_of(kind: str) -> str:
    """Return what the keys of all participants of ``kind``, one of :data:`KINDS`, start with."""
    return f"{_names.ROOT}{kind}/"


def places_of(kind: str, items: Iterable[KeyValue]) -> list[Place]:
    """Return the places that keys show, for a program that follows the keys itself.

    Args:
        kind: one of :data:`KINDS`.
        items: the keys that start with :func:`prefix_of` of it: all of each name that occurs. A key that no
            participant can have written is left out.

    Returns:
        The places, in the order in which they hold and wait.
    """
    folders: dict[str, list[KeyValue]] = {}
    for item in items:
        if item.key.count("/") >= _DEPTH:
            folders.setdefault(item.key[: item.key.rindex("/") + 1], []).append(item)
    return [place for folder, found in folders.items() for place in _places(kind, folder, found)]


def release(store: Store, places: Iterable[Place], *, timeout: float | None = None) -> None:
    """Take what they hold away from ``places``, in one transaction, if none has changed since the survey.

    A holder learns of it when it looks at its key, or when a guarded write is refused. The next one may hold before.

    Args:
        store: the store of the survey.
        places: what to end; they may hold or wait.
        timeout: seconds that the call may take; by default the store's timeout.

    Raises:
        Conflict: one of the keys has changed or is gone; nothing was changed.
        TenureError: what :meth:`tenure.TransactionBuilder.commit` raises.
    """
    change = store.transaction()
    for place in places:
        change.if_unchanged(place.key, revision=place.revision).delete(place.key)
    change.commit(timeout=timeout)


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
