"""What the server says of itself to people, and which of its settings weaken what the store promises."""

from __future__ import annotations

import time

from tenure.spi import ServerInfo
from tenure_postgresql import server_settings
from tenure_postgresql.context import BackendContext
from tenure_postgresql.server_settings import SYNCHRONOUS, ServerSettings


def describe(context: BackendContext, *, timeout: float) -> ServerInfo:
    """``Backend.server_info``."""
    until = time.monotonic() + timeout
    settings = server_settings.ask(context, timeout=timeout)
    version, encrypted = _of_connection(context, until)
    return ServerInfo(
        product="PostgreSQL",
        version=version,
        revision=settings.revision,
        clock=settings.clock,
        warnings=tuple(_warnings(settings, encrypted=encrypted)),
        details=settings.details | {"encrypted": "yes" if encrypted else "no"},
    )


def _of_connection(context: BackendContext, until: float) -> tuple[str, bool]:
    connection = context.pool.take(until, "asking the server about itself")
    try:
        return connection.parameter("server_version"), connection.encrypted
    finally:
        context.pool.give_back(connection)


def _warnings(settings: ServerSettings, *, encrypted: bool) -> list[str]:
    warnings = []
    if not settings.fsync:
        warnings.append("fsync is off: a crash of the machine can lose or damage everything")
    if not settings.full_page_writes:
        warnings.append("full_page_writes is off: a crash of the machine can damage the data")
    if settings.synchronous_commit not in SYNCHRONOUS:
        warnings.append(
            f"synchronous_commit is {settings.synchronous_commit}: a crash can lose writes that were acknowledged "
            "in the last second"
        )
    if not settings.autovacuum:
        warnings.append("autovacuum is off: the tables grow with every write")
    if settings.superuser:
        warnings.append("the store is used as a superuser: a user with rights on its schema is enough")
    if not encrypted:
        warnings.append("the connection isn't encrypted: use postgresql+tls:// outside of a trusted network")
    return warnings
