"""Fencing: a resource refuses what a former holder writes, because a later holder has written before.

A :class:`Fence` is a token with the history that it belongs to. Fences of one name grow with each holder, also after
the store's data were replaced by a backup that repeats tokens. A :class:`Gate` is a resource in the same store; the
page "Write with a fencing token" has others.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self, TypeVar

from tenure._client.store import Store
from tenure._client.transaction import TransactionBuilder, TransactionDraft, check_draft
from tenure._runtime.clock import TimeLimit
from tenure._steps.effects import Commit, Get, Steps
from tenure._steps.threads import run
from tenure._text import shown
from tenure.errors import Conflict, InvalidArgument, StoreCorrupted
from tenure.recipes import _names
from tenure.recipes._owner import MOST_HISTORY
from tenure.spi.types import KeyAbsent, KeyValue, Precondition, Put, RevisionEquals

D = TypeVar("D", bound=TransactionDraft)

_TEXT = re.compile(r"([0-9]{15})\.([0-9]{19})")
_MOST_TOKEN = 10**19


@dataclass(frozen=True, slots=True, order=True)
class Fence:
    """A token with its history, such as :meth:`Held.fence` returns. Of two holders, the later one has the greater.

    ``str(fence)`` is a text of fixed length that sorts as fences do: for a column, a file, an HTTP header or an
    environment variable.

    >>> import tenure
    >>> with tenure.connect("memory://") as store:
    ...     with tenure.Lock(store, "job").hold() as held:
    ...         first = held.fence()
    ...     with tenure.Lock(store, "job").hold() as held:
    ...         second = held.fence()
    >>> first < second, str(first) < str(second), tenure.Fence.parse(str(first)) == first
    (True, True, True)

    Attributes:
        history: a number that grows when the store's data were replaced; 0 on stores that never repeat a token.
        token: the fencing token.
    """

    history: int
    token: int

    def __post_init__(self) -> None:
        for value, most in ((self.history, MOST_HISTORY), (self.token, _MOST_TOKEN)):
            if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < most:
                raise InvalidArgument(
                    f"making a fence of {shown(self.history)} and {shown(self.token)}: both are integers of at most 15 "
                    "and 19 digits; take them from Held.fence()"
                )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the fence that ``str`` has made ``text`` of.

        Args:
            text: the text.

        Returns:
            The fence.

        Raises:
            InvalidArgument: it is no such text.
        """
        found = _TEXT.fullmatch(text) if isinstance(text, str) else None
        if found is None:
            raise InvalidArgument(
                f"reading the fence {shown(text)}: it isn't what str(fence) returns; give such a text"
            )
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.history:015d}.{self.token:019d}"


class GateSteps:
    """A gate's key. Steps, without I/O."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.key = _names.folder("gate", name) + "fence"

    def pass_through(self, fence: Fence, limit: TimeLimit) -> Steps[tuple[Precondition, Put | None]]:
        """Steps that return what a transaction needs to pass. Raise ``Conflict`` if a greater fence has passed."""
        if not isinstance(fence, Fence):  # a text in the key would close the gate to all
            raise InvalidArgument(
                f"passing the gate {self.name!r}: {shown(fence)} is no fence; give one of Held.fence() or Fence.parse()"
            )
        item = yield from Get(self.key, limit)
        passed = self._passed(item)
        if passed is not None and fence < passed:
            raise Conflict(
                f"passing the gate {self.name!r}: a later holder has passed; acquire again; nothing was changed",
                keys=(self.key,),
            )
        guard: Precondition = KeyAbsent(self.key) if item is None else RevisionEquals(self.key, item.mod_revision)
        return guard, None if fence == passed else Put(self.key, str(fence).encode(), None)

    def _passed(self, item: KeyValue | None) -> Fence | None:
        try:
            return None if item is None else Fence.parse(item.value.decode(errors="replace"))
        except InvalidArgument as exc:
            raise StoreCorrupted(f"passing the gate {self.name!r}: {self.key!r} is no fence; remove the key") from exc

    def admit(self, fence: Fence, limit: TimeLimit) -> Steps[None]:
        """Steps that close the gate to smaller fences."""
        while True:
            guard, put = yield from self.pass_through(fence, limit)
            if put is None:
                return
            try:
                yield from Commit((guard,), (put,), limit)
            except Conflict:
                continue  # another participant passed in between: look again
            return


class Gate:
    """Lets writers pass in the order of their fences: once one has passed, smaller fences are refused from then on.

    For writers that have a fence, and not the lock itself, such as a worker that got it in a message. A holder needs no
    gate for keys of the same store: :meth:`Held.guard` refuses as well.

    >>> import tenure
    >>> with tenure.connect("memory://") as store:
    ...     gate = tenure.Gate(store, "report")
    ...     with tenure.Lock(store, "report").hold() as held:
    ...         fence = held.fence()
    ...         written = gate.guard(store.transaction().put("report", b"1"), fence).commit()
    ...     with tenure.Lock(store, "report").hold() as held:
    ...         gate.admit(held.fence())
    ...     try:
    ...         gate.guard(store.transaction().put("report", b"late"), fence)
    ...     except tenure.Conflict:
    ...         print("refused")
    refused

    Args:
        store: the store.
        name: the name of what is protected, at most 400 bytes.

    Raises:
        InvalidArgument: the name is empty, too long, or no text without NUL.
    """

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._steps = GateSteps(name)

    @property
    def name(self) -> str:
        """The name of what is protected."""
        return self._steps.name

    def admit(self, fence: Fence, *, timeout: float | None = None) -> None:
        """Pass, and refuse smaller fences from now on.

        Args:
            fence: the writer's fence.
            timeout: seconds that the call may take; by default the store's timeout for each of its requests.

        Raises:
            Conflict: a greater fence has passed.
            InvalidArgument: ``fence`` is no :class:`Fence`.
            StoreCorrupted: another program wrote the gate's key.
            OutcomeUnknown: no answer came; calling again is safe.
            Unavailable: the store can't be reached; nothing was changed. ``DeadlineExceeded`` if the time ran out.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        run(self._store, self._admitting(fence, timeout=timeout))

    def guard(
        self, transaction: TransactionBuilder, fence: Fence, *, timeout: float | None = None
    ) -> TransactionBuilder:
        """Make a transaction pass: it is applied only if no greater fence has passed until then, and closes the gate.

        Args:
            transaction: a transaction of the same store.
            fence: the writer's fence.
            timeout: seconds that the call may take; by default the store's timeout.

        Returns:
            The same builder. Its ``commit`` raises ``Conflict`` if another writer passes meanwhile.

        Raises:
            Conflict: a greater fence has passed.
            InvalidArgument: ``fence`` is no :class:`Fence`.
            StoreCorrupted: another program wrote the gate's key.
            Unavailable: the store can't be reached. ``DeadlineExceeded`` if the time ran out.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        return run(self._store, self._guarding(transaction, fence, timeout=timeout))

    def _admitting(self, fence: Fence, *, timeout: float | None = None) -> Steps[None]:
        return self._steps.admit(fence, TimeLimit(self._store.clock, timeout))

    def _guarding(self, transaction: D, fence: Fence, *, timeout: float | None = None) -> Steps[D]:
        check_draft(transaction, f"passing the gate {self.name!r}")
        limit = TimeLimit(self._store.clock, timeout)
        try:
            guard, put = yield from self._steps.pass_through(fence, limit)
        except BaseException:
            transaction._refused()
            raise
        if isinstance(guard, RevisionEquals):
            transaction.if_unchanged(guard.key, revision=guard.revision)
        else:
            transaction.if_absent(guard.key)
        return transaction if put is None else transaction.put(put.key, put.value)

    def __repr__(self) -> str:
        return f"<Gate {self.name!r}>"
