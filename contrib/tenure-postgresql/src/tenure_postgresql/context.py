"""What all modules of one backend share: connections, statements, and how many revisions the store keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tenure.errors import StoreCorrupted
from tenure_postgresql import encoding
from tenure_postgresql.connection import Row, Statement
from tenure_postgresql.pool import Pool
from tenure_postgresql.queries import Statements


@dataclass(frozen=True, slots=True)
class BackendContext:
    """The store that one backend has open."""

    pool: Pool
    statements: Statements
    history: int

    def rows(
        self,
        statement: Statement,
        args: Sequence[bytes | None] = (),
        *,
        timeout: float,
        action: str,
        write: bool = False,
        waits: bool = False,
    ) -> list[Row]:
        """The rows of a statement that always has some: all but refreshing and listing leases. See ``Pool.call``."""
        rows = self.pool.call(statement, args, timeout=timeout, action=action, write=write, waits=waits)
        if not rows:
            raise lost_row(action, self.pool.endpoints.where)
        return rows

    def kept(self) -> bytes:
        """The length of the history, as an argument."""
        return encoding.bigint(self.history)

    def tick(self, *, timeout: float, action: str) -> None:
        """End the leases that are overdue."""
        self.rows(self.statements.tick, [self.kept()], timeout=timeout, action=action, waits=True)


def lost_row(action: str, where: str) -> StoreCorrupted:
    """What to raise where the table ``store`` is empty."""
    return StoreCorrupted(f"{action}: the table 'store' at {where} has lost its row: restore it from a copy")
