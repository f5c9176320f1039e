"""What the server says of its settings, what follows for the promises, and what people should know."""

from __future__ import annotations

import time
from dataclasses import dataclass

from tenure.spi import Capabilities, ServerInfo
from tenure_postgresql import encoding
from tenure_postgresql.context import Store

_SYNCHRONOUS = ("on", "remote_apply", "remote_write", "local")


@dataclass(frozen=True, slots=True)
class Facts:
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
        return self.fsync and self.full_page_writes and self.synchronous_commit in _SYNCHRONOUS


def ask(store: Store, *, timeout: float) -> Facts:
    """Ask the server."""
    row = store.rows(store.statements.info, timeout=timeout, action="asking the server about itself")[0]
    texts = [encoding.word(raw) for raw in row[1:8]]
    return Facts(
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


def declare(facts: Facts, *, failover: bool, poll: float, silence: float) -> Capabilities:
    """Capabilities of a store. ``failover``: another server may take over with a copy that lags behind.

    With several hosts a replica may have less than its primary had acknowledged, unless it is a synchronous one; and
    an old primary that doesn't know yet that it was replaced may go on answering.
    """
    return Capabilities(
        durable=facts.flushes and (not failover or (bool(facts.standbys) and facts.synchronous_commit != "local")),
        linearizable=not failover,
        multi_process=True,
        consistent_list=True,
        consistent_pagination=False,  # PostgreSQL keeps old rows only for transactions that are open
        lossless_watch=True,
        list_leases=True,
        max_value_bytes=4 << 20,
        max_transaction_operations=1000,
        max_transaction_leases=1000,
        max_transaction_bytes=16 << 20,
        min_ttl=0.5,
        max_ttl=10 * 365 * 86_400.0,
        ttl_granularity=0.001,
        expiry_factor=1.0,
        expiry_slack=poll + 0.5,
        max_watch_latency=0.5,
        # The wait for a tick, then the wait for its answer.
        max_watch_failure_detection=poll + silence + 0.5,
    )


def describe(store: Store, *, timeout: float) -> ServerInfo:
    """``Backend.server_info``."""
    until = time.monotonic() + timeout
    facts = ask(store, timeout=timeout)
    version, encrypted = _of_connection(store, until)
    return ServerInfo(
        product="PostgreSQL",
        version=version,
        revision=facts.revision,
        clock=facts.clock,
        warnings=tuple(_risks(facts, encrypted=encrypted)),
        details=facts.details | {"encrypted": "yes" if encrypted else "no"},
    )


def _of_connection(store: Store, until: float) -> tuple[str, bool]:
    link = store.pool.take(until, "asking the server about itself")
    try:
        return link.parameter("server_version"), link.encrypted
    finally:
        store.pool.give_back(link)


def _risks(facts: Facts, *, encrypted: bool) -> list[str]:
    risks = []
    if not facts.fsync:
        risks.append("fsync is off: a crash of the machine can lose or damage everything")
    if not facts.full_page_writes:
        risks.append("full_page_writes is off: a crash of the machine can damage the data")
    if facts.synchronous_commit not in _SYNCHRONOUS:
        risks.append(
            f"synchronous_commit is {facts.synchronous_commit}: a crash can lose writes that were acknowledged "
            "in the last second"
        )
    if not facts.autovacuum:
        risks.append("autovacuum is off: the tables grow with every write")
    if facts.superuser:
        risks.append("the store is used as a superuser: a user with rights on its schema is enough")
    if not encrypted:
        risks.append("the connection isn't encrypted: use postgresql+tls:// outside of a trusted network")
    return risks
