"""What the server says of its settings: what capabilities and warnings follow from."""

from __future__ import annotations

from dataclasses import dataclass

from tenure_postgresql import encoding
from tenure_postgresql.context import BackendContext

SYNCHRONOUS = ("on", "remote_apply", "remote_write", "local")
"""Values of ``synchronous_commit`` with which an answer comes after the write is on the disk."""


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """The settings of a server that promises depend on."""

    revision: int
    clock: float
    fsync: bool
    full_page_writes: bool
    synchronous_commit: str
    standbys: str
    autovacuum: bool
    superuser: bool
    details: dict[str, str]

    @property
    def flushes(self) -> bool:
        """Whether an answer comes only when the write is on the disk."""
        return self.fsync and self.full_page_writes and self.synchronous_commit in SYNCHRONOUS


def ask(context: BackendContext, *, timeout: float) -> ServerSettings:
    """Ask the server."""
    row = context.rows(context.statements.info, timeout=timeout, action="asking the server about itself")[0]
    texts = [encoding.word(raw) for raw in row[1:8]]
    return ServerSettings(
        revision=encoding.number(row[0]),
        clock=float(texts[0]),
        fsync=texts[1] == "on",
        full_page_writes=texts[2] == "on",
        synchronous_commit=texts[3],
        standbys=texts[4],
        autovacuum=texts[5] == "on",
        superuser=encoding.flag(row[13]),
        details={
            "leases": texts[6],
            "log_after_revision": str(encoding.number(row[8])),
            "log_value_bytes": str(encoding.number(row[9])),
            "history": encoding.word(row[10]),
            "table_bytes": str(encoding.number(row[11])),
            "log_table_bytes": str(encoding.number(row[12])),
            "synchronous_commit": texts[3],
        },
    )
