"""Writes whose connection is broken at a chosen point, and what the store made of them.

Each write is made once, to keys of its own, with a value that no other client writes. So a read afterwards shows
whether it was applied, and whether more than once.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from tenure._client.store import Store
from tenure.conformance.network import CutPoint
from tenure.errors import OutcomeUnknown, TenureError, Unavailable
from tenure.spi import KeyValue


class Kind(StrEnum):
    """How the write is made."""

    PUT = "put"
    PUT_IF_ABSENT = "put_if_absent"
    TRANSACTION = "transaction"


class Outcome(StrEnum):
    """The outcome that the caller saw."""

    DONE = "done"
    REFUSED = "surely not applied"
    UNKNOWN = "unknown"
    WRONG = "an error that doesn't fit"


@dataclass(slots=True)
class UnansweredWrite:
    """One write, and the outcome that the caller saw."""

    kind: Kind
    point: CutPoint
    token: bytes = field(default_factory=lambda: b"%032x" % uuid.uuid4().int)
    outcome: Outcome = Outcome.WRONG
    error: TenureError | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys that it writes."""
        name = f"unanswered/{self.point}/{self.kind}/{self.token.decode()}"
        return tuple(f"{name}/{number}" for number in range(4)) if self.kind is Kind.TRANSACTION else (name,)

    def write(self, store: Store, timeout: float) -> None:
        """Make the write, once."""
        try:
            self._write(store, timeout)
        except OutcomeUnknown as exc:
            self.outcome, self.error = Outcome.UNKNOWN, exc
        except Unavailable as exc:
            self.outcome, self.error = Outcome.REFUSED, exc
        except TenureError as exc:
            self.error = exc
        else:
            self.outcome = Outcome.DONE

    def _write(self, store: Store, timeout: float) -> None:
        if self.kind is Kind.PUT:
            store.put(self.keys[0], self.token, timeout=timeout)
        elif self.kind is Kind.PUT_IF_ABSENT:
            store.put_if_absent(self.keys[0], self.token, timeout=timeout)
        else:
            transaction = store.transaction()
            for key in self.keys:
                transaction.put(key, self.token)
            transaction.commit(timeout=timeout)

    def problems(self, present: Mapping[str, KeyValue]) -> list[str]:
        """Return the contradictions between the outcome that the caller saw and the keys of the store."""
        did = f"{self.kind}, cut {self.point.replace('_', ' ')}, ended as {self.outcome}"
        if self.outcome is Outcome.WRONG:
            return [f"{did}: {self.error!r}"]
        items = [present[key] for key in self.keys if key in present]
        problems = []
        if items and len(items) < len(self.keys):
            problems.append(f"{did}: only {len(items)} of its {len(self.keys)} keys exist")
        if self.outcome is Outcome.DONE and not items:
            problems.append(f"{did}: its key is missing")
        if self.outcome is Outcome.REFUSED and items:
            problems.append(f"{did} ({self.error!r}): its key exists")
        if any(item.mod_revision != item.create_revision for item in items):
            problems.append(f"{did}: applied more than once, its keys were put again")
        if len({item.mod_revision for item in items}) > 1:
            problems.append(f"{did}: not at one revision")
        return problems
