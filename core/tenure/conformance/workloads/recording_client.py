"""Clients that record their operations and results, for the checkers of linearizability.

A write that surely wasn't applied (``Unavailable``) and a read that failed leave no trace in a history; a write of
unknown outcome does. A client re-raises every error but ``Conflict``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping

from tenure._client.store import Store
from tenure.conformance.checkers.linearizability.operations import (
    ABSENT,
    Condition,
    Item,
    Kind,
    Operation,
    Outcome,
    text_of,
)
from tenure.errors import Conflict, OutcomeUnknown
from tenure.spi import CommitResult, KeyValue


class Recorder:
    """A history that many clients write to. Thread-safe."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.operations: list[Operation] = []

    def now(self) -> float:
        """Seconds since the history began."""
        return time.monotonic() - self.began

    def client(self, number: int, store: Store) -> Client:
        """Return a client; one thread at a time may use it."""
        return Client(self, number, store)

    def count(self, kind: Kind, outcome: Outcome = Outcome.DONE) -> int:
        """Return the number of operations of this kind with this outcome."""
        return sum(each.kind is kind and each.outcome is outcome for each in list(self.operations))


class Client:
    """Calls a store; returns what it read, or whether a write was done (and not refused)."""

    def __init__(self, recorder: Recorder, number: int, store: Store) -> None:
        self.number = number
        self.store = store
        self._recorder = recorder

    def read(self, key: str) -> KeyValue | None:
        """Read one key."""
        invoked = self._recorder.now()
        found = self.store.get_with_revision(key)
        self._seen(Kind.READ, invoked, found.revision, {key: found.item})
        return found.item

    def list(self, prefix: str, keys: Iterable[str]) -> None:
        """List all keys under ``prefix``, of which ``keys`` are all that may exist."""
        invoked = self._recorder.now()
        listed = self.store.list(prefix)
        there = {item.key: item for item in listed}
        self._seen(Kind.LIST, invoked, listed.revision, {key: there.get(key) for key in {*keys, *there}})

    def put(self, key: str, value: bytes) -> bool:
        """Put without a condition."""
        return self._write(Kind.PUT, lambda: self.store.put(key, value), puts={key: value})

    def put_if_absent(self, key: str, value: bytes) -> bool:
        """Put a key that doesn't exist."""
        call = lambda: self.store.put_if_absent(key, value)  # noqa: E731 - named for the line below
        return self._write(Kind.PUT_IF_ABSENT, call, puts={key: value}, preconditions={key: ABSENT})

    def compare_and_set(self, key: str, value: bytes, revision: int) -> bool:
        """Put a key that is as it was put at ``revision``."""
        call = lambda: self.store.put_if_unchanged(key, value, revision=revision)  # noqa: E731 - named for the line below
        return self._write(Kind.COMPARE_AND_SET, call, puts={key: value}, preconditions={key: revision})

    def delete(self, key: str, revision: int | None = None) -> bool:
        """Delete, if ``revision`` is given only what was put at it."""
        preconditions: dict[str, Condition] = {} if revision is None else {key: revision}
        return self._write(
            Kind.DELETE, lambda: self.store.delete(key, revision=revision), deletes=(key,), preconditions=preconditions
        )

    def transaction(
        self, *, puts: Mapping[str, bytes], deletes: Iterable[str] = (), unchanged: Mapping[str, int] | None = None
    ) -> bool:
        """Write several keys at once, if others are unchanged."""
        transaction = self.store.transaction()
        for key, revision in (unchanged or {}).items():
            transaction.if_unchanged(key, revision=revision)
        for key, value in puts.items():
            transaction.put(key, value)
        gone = tuple(deletes)
        for key in gone:
            transaction.delete(key)
        return self._write(Kind.TRANSACTION, transaction.commit, puts=puts, deletes=gone, preconditions=unchanged or {})

    def _seen(self, kind: Kind, invoked: float, revision: int, found: Mapping[str, KeyValue | None]) -> None:
        seen = tuple((key, _item(item)) for key, item in found.items())
        now = self._recorder.now()
        done = Operation(self.number, kind, invoked, now, Outcome.DONE, revision=revision, seen=seen)
        self._recorder.operations.append(done)

    def _write(
        self,
        kind: Kind,
        call: Callable[[], CommitResult],
        *,
        puts: Mapping[str, bytes] | None = None,
        deletes: tuple[str, ...] = (),
        preconditions: Mapping[str, Condition] | None = None,
    ) -> bool:
        tried = Operation(
            self.number,
            kind,
            self._recorder.now(),
            math.inf,
            Outcome.UNKNOWN,
            preconditions=tuple((preconditions or {}).items()),
            puts=tuple((key, text_of(value)) for key, value in (puts or {}).items()),
            deletes=deletes,
        )
        try:
            committed = call()
        except Conflict:
            done = tried._replace(outcome=Outcome.REFUSED, returned=self._recorder.now())
        except OutcomeUnknown:
            self._recorder.operations.append(tried)
            raise
        else:
            done = tried._replace(
                outcome=Outcome.DONE,
                returned=self._recorder.now(),
                revision=committed.revision,
                deleted=committed.deleted,
            )
        self._recorder.operations.append(done)
        return done.outcome is Outcome.DONE


def _item(item: KeyValue | None) -> Item | None:
    return item and (text_of(item.value), item.create_revision, item.mod_revision)
