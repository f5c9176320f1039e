"""The unfair way to a lock: one key that all participants put if it is absent. Steps, without I/O.

One round trip takes it and one gives it back. Who gets it next is a race that any participant may win. One that has
waited and lost looks away for a while, the longer the more often it lost: a release wakes those alone that look.
"""

from __future__ import annotations

import random
import secrets

from tenure._client.store import Store
from tenure._runtime.clock import TimeLimit
from tenure._steps.effects import Commit, Get, ListKeys, Sleep, Steps, WaitUntil
from tenure.errors import Conflict, InvalidArgument, LeaseLost, LeaseNotFound, OutcomeUnknown, Unavailable, WaitTimeout
from tenure.recipes._janitor import Janitor
from tenure.recipes._queue import Acquired, Ticket, View, view_of
from tenure.recipes.session import Session, session_for
from tenure.spi.types import Delete, KeyAbsent, Put, RevisionEquals

HOLDER = "holder"
"""The name of the key in its folder."""
_PAUSE = 0.2
"""Seconds, on average, before a put is repeated that the store could not take."""
_SHORTEST_ABSENCE = 0.002
_LONGEST_ABSENCE = 0.25
"""Seconds that a participant looks away at most. It does so while another has just taken the key."""


class _Absence:
    """How long one looks away that has lost: not the first time, as it has not waited then."""

    def __init__(self) -> None:
        self._longest = 0.0

    def after_losing(self, limit: TimeLimit) -> Steps[None]:
        """Steps that look away."""
        seconds, left = self._longest * random.random(), limit.left()  # noqa: S311 - spreads participants, no secret
        self._longest = min(max(4 * self._longest, _SHORTEST_ABSENCE), _LONGEST_ABSENCE)
        if seconds and (left is None or left > 0):
            yield from Sleep(seconds if left is None else min(seconds, left))


class SingleKey:
    """One key and who competes for it."""

    def __init__(
        self,
        store: Store,
        folder: str,
        what: str,
        janitor: Janitor,
        session: Session | None,
        *,
        alone: bool = False,
    ) -> None:
        """``what`` is acquired, for messages; ``session`` is the participant's own, ``None`` for the store's.

        ``alone``: no queue can have the same folder, so that none is looked for.
        """
        self.store = store
        self.key = folder + HOLDER
        self.what = what
        self.janitor = janitor
        self.session = session
        self._folder = folder
        self._checked = alone

    def acquire(self, value: bytes, limit: TimeLimit) -> Steps[Acquired]:
        """Steps that put the key as soon as it is absent. Raise ``WaitTimeout`` when the time is up."""
        absence = _Absence()
        while True:
            session = yield from session_for(self.store, self.session, limit)
            acquired = None
            try:
                acquired = yield from self._try(session, value, limit)
                if acquired is not None:
                    return acquired
                yield from absence.after_losing(limit)
                yield from WaitUntil(self.key, lambda present: not present, limit, session.lease, exact=True)
            except (LeaseLost, LeaseNotFound):
                if self.session is not None:
                    raise
            except (Unavailable, OutcomeUnknown):
                if _over(limit):
                    raise
                yield from Sleep(_PAUSE * (0.5 + random.random()))  # noqa: S311 - spreads participants, no secret
            except BaseException:
                if acquired is not None:
                    self.give_up(acquired)
                raise
            if _over(limit):
                raise WaitTimeout(
                    f"acquiring {self.what}: others held it all the time; give a longer timeout, or try again"
                )

    def try_acquire(self, value: bytes, limit: TimeLimit) -> Steps[Acquired | None]:
        """Steps that put the key if it is absent now."""
        session = yield from session_for(self.store, self.session, limit)
        return (yield from self._try(session, value, limit))

    def release(self, held: Acquired, limit: TimeLimit) -> Steps[bool]:
        """Steps that give the key back. Returns whether it was still held; another holder's key is safe."""
        key, place = held.ticket.key, held.ticket.place
        removed, there = False, True
        try:
            yield from Commit((RevisionEquals(key, place),), (Delete(key),), limit)
            removed = True
        except Conflict:
            there = False  # it is gone, or a backup has it, whose revisions are no longer known: the janitor sees to it
        except (OutcomeUnknown, Unavailable):
            pass
        finally:
            if not removed or held.uncertain:
                self.janitor.remove(key, held.session, value=held.ticket.value, uncertain=held.uncertain)
        return there and held.session.alive

    def give_up(self, held: Acquired) -> None:
        """Let the janitor give back what is held. Never blocks or raises."""
        self.janitor.remove(held.ticket.key, held.session, value=held.ticket.value, uncertain=held.uncertain)

    def _try(self, session: Session, value: bytes, limit: TimeLimit) -> Steps[Acquired | None]:
        unique = secrets.token_hex(8).encode() + b" " + value
        lease = session.lease
        put = Commit((KeyAbsent(self.key),), (Put(self.key, unique, lease.id),), limit, lease)
        uncertain, placed = False, False
        try:
            while True:
                try:
                    place = (yield from put).revision
                except (OutcomeUnknown, Conflict) as exc:
                    uncertain = uncertain or isinstance(exc, OutcomeUnknown)
                    if not uncertain:
                        return None
                    item = yield from Get(self.key, limit)
                    if item is None:
                        continue
                    if item.value != unique:
                        self.janitor.remove(self.key, session, value=unique, uncertain=True)
                        return None
                    place = item.create_revision
                placed = True
                if not self._checked:
                    yield from self._check_others(limit)
                session.check()
                return Acquired(Ticket(self.key, place, unique, place), session, uncertain)
        except BaseException as exc:
            refused = isinstance(exc, Unavailable | LeaseLost | LeaseNotFound)
            if uncertain or placed or not refused:
                self.janitor.remove(self.key, session, value=unique, uncertain=True)
            raise

    def _check_others(self, limit: TimeLimit) -> Steps[None]:
        """Refuse to compete with participants of a queue of the same name, the first time."""
        listing = yield from ListKeys(self._folder, limit)
        if view_of(self._folder, listing.items).tickets:
            raise InvalidArgument(
                f"acquiring {self.what} with fair=False: another participant of the same name has fair=True, and the "
                "two don't exclude each other; give the same everywhere"
            )
        self._checked = True


def value_of(value: bytes) -> bytes:
    """Return what the holder gave as value, without what makes the key's value unique."""
    return value.partition(b" ")[2]


def refuse_unfair(view: View) -> None:
    """Refuse to queue for a lock whose single key another participant has."""
    if HOLDER in view.settings:
        raise InvalidArgument(
            "acquiring a lock with fair=True: another participant of the same name has fair=False, and the two "
            "don't exclude each other; give the same everywhere"
        )


def _over(limit: TimeLimit) -> bool:
    left = limit.left()
    return left is not None and left <= 0
