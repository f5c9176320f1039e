"""What every write goes through: checks, the namespace, a commit in the present history, and the right errors."""

from __future__ import annotations

from collections.abc import Callable

from tenure._client.history import HistoryGuard
from tenure._client.validation import restore_caller_keys, validate_and_prefix
from tenure.errors import Conflict, HistoryReplaced, LeaseNotFound, Unavailable
from tenure.leases.keepalive import LeaseKeepAlive
from tenure.spi.backend import Backend
from tenure.spi.types import CommitResult, Operation, Precondition, Put, Transaction


class Committer:
    """Commits transactions of one store.

    Args:
        backend: the plugin's backend.
        history: refuses revisions of a history that was replaced.
        keeper: knows the leases of this process.
        prefix: the store's namespace.
    """

    def __init__(self, backend: Backend, history: HistoryGuard, keeper: LeaseKeepAlive, prefix: str) -> None:
        self._backend = backend
        self._capabilities = backend.capabilities
        self._history = history
        self._keeper = keeper
        self._prefix = prefix

    def commit(
        self,
        preconditions: tuple[Precondition, ...],
        operations: tuple[Operation, ...],
        run: Callable[[Callable[[float], CommitResult]], CommitResult],
    ) -> CommitResult:
        """Check and commit; ``run`` repeats an attempt as writes may be repeated.

        Raises what the backend and the checks raise, with the caller's own keys in a ``Conflict``.
        """
        transaction = validate_and_prefix(preconditions, operations, self._prefix, self._capabilities)

        def attempt(seconds: float) -> CommitResult:
            try:
                return self._commit_in_present_history(transaction, seconds)
            except Conflict as exc:
                restore_caller_keys(exc, preconditions, transaction)
                raise

        try:
            result = run(attempt)
            if self._history.replaced:
                self._history.note([operation.key for operation in transaction.operations])
            return result
        except LeaseNotFound as exc:
            self._mark_lost(operations, exc)
            raise

    def _commit_in_present_history(self, transaction: Transaction, seconds: float) -> CommitResult:
        self._history.check(transaction.preconditions)
        try:
            return self._backend.commit(transaction, timeout=seconds)
        except HistoryReplaced as exc:
            # Certainly not applied. A revision of the old history is refused; anything else is committed again.
            self._history.check(transaction.preconditions)
            raise Unavailable(f"committing: {exc}; try again") from exc

    def _mark_lost(self, operations: tuple[Operation, ...], error: LeaseNotFound) -> None:
        """Mark a lease of this process as lost if the store refused a put for it, whatever the local clock says."""
        named = {operation.lease_id for operation in operations if isinstance(operation, Put) and operation.lease_id}
        if len(named) == 1:
            lease = self._keeper.find(named.pop())
            if lease is not None:
                lease.mark_lost(str(error))
