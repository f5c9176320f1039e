"""The ten methods of the SPI, each handed to the module that does it, and how a store is opened."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

from tenure.errors import ConfigError, PermissionDenied, Unsupported
from tenure.spi.backend import Backend
from tenure.spi.capabilities import Capabilities
from tenure.spi.feed import Feed, Sink
from tenure.spi.plugin import Host, OpenRequest
from tenure.spi.types import CommitResult, LeaseGrant, LeaseId, LeaseInfo, Page, ReadResult, ServerInfo, Transaction
from tenure_redis import leases, reads, scripts, server_info, server_settings, transactions
from tenure_redis.capabilities import declare
from tenure_redis.connection import Login
from tenure_redis.endpoints import Cluster, Direct, Locator, Sentinels
from tenure_redis.keys import Names
from tenure_redis.native import client
from tenure_redis.pool import Pool
from tenure_redis.watch import Watches


class RedisBackend(Backend):
    """One store in an opened Redis."""

    def __init__(self, pool: Pool, request: OpenRequest, login: Login, capabilities: Capabilities) -> None:
        self._pool = pool
        self._request = request
        self._login = login
        self._capabilities = capabilities
        self._watches = Watches(pool, silence=request.options["silence"])
        self._native: Any = None
        self._native_lock = threading.Lock()

    @classmethod
    def open(cls, request: OpenRequest) -> RedisBackend:
        """Connect, log in, and try the rights that are needed. Raises as ``BackendPlugin.open`` says."""
        until = time.monotonic() + request.timeout
        login = Login(request.username, request.password, request.options["db"], request.tls)
        names = Names.of(request.options["store"])
        pool = Pool(_locator(request, names, login), names, history=request.options["history"])
        try:
            _try_rights(pool, names, until)
            settings = server_settings.ask(pool, timeout=_left(until))
        except BaseException:
            pool.close()
            raise
        declared = declare(settings, failover=pool.locator.failover, silence=request.options["silence"])
        return cls(pool, request, login, declared)

    @property
    def native(self) -> Any:
        """A ``redis.Redis`` (with Cluster a ``redis.RedisCluster``) of its own for the same server; it connects when
        first used, with Cluster when first asked for, closes with the store, and repeats no command by itself."""
        with self._native_lock:
            if self._native is None:
                self._native = client(self._request, self._login)
            return self._native

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    def get(self, key: str, *, timeout: float) -> ReadResult:
        return reads.get(self._pool, key, timeout=timeout)

    def list(self, prefix: str, *, after: str | None, limit: int | None, revision: int | None, timeout: float) -> Page:
        if revision is not None:
            raise Unsupported(
                "Redis keeps no past states to list: its capabilities declare consistent_pagination=False"
            )
        return reads.list_page(self._pool, prefix, after=after, limit=limit, timeout=timeout)

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        return transactions.commit(self._pool, transaction, timeout=timeout)

    def grant(self, ttl: float, *, timeout: float) -> LeaseGrant:
        return leases.grant(self._pool, ttl, timeout=timeout)

    def refresh(self, lease_ids: Sequence[LeaseId], *, timeout: float) -> dict[LeaseId, float]:
        return leases.refresh(self._pool, lease_ids, timeout=timeout)

    def revoke(self, lease_ids: Sequence[LeaseId], *, timeout: float) -> frozenset[LeaseId]:
        return leases.revoke(self._pool, lease_ids, timeout=timeout)

    def leases(self, lease_id: LeaseId | None, *, timeout: float) -> tuple[LeaseInfo, ...]:
        return leases.describe(self._pool, lease_id, timeout=timeout)

    def watch(self, prefix: str, *, after: int | None, sink: Sink, timeout: float) -> Feed:
        return self._watches.open(prefix, after=after, sink=sink, timeout=timeout)

    def server_info(self, *, timeout: float) -> ServerInfo:
        return server_info.describe(
            self._pool,
            _places(self._request),
            encrypted=self._request.tls is not None,
            login=self._request.password is not None,
            timeout=timeout,
        )

    def close(self) -> None:
        if not self._pool.close():
            return
        self._watches.close()
        with self._native_lock:
            if self._native is not None:
                self._native.close()


def _places(request: OpenRequest) -> tuple[Host | str, ...]:
    return tuple(host.name for host in request.hosts) if "unix" in request.variants else request.hosts


def _locator(request: OpenRequest, names: Names, login: Login) -> Locator:
    """Who finds the primary. Raises ``ConfigError`` for options that don't go together."""
    options, modes = request.options, request.variants
    if not options["store"]:
        raise ConfigError("the option store names the store inside Redis and can't be empty: leave it out")
    if len(modes) > 1:
        raise ConfigError(
            f"redis+{'+'.join(sorted(modes))}:// contradicts itself: choose one of {', '.join(sorted(modes))}"
        )
    for name in ("master", "sentinel_user", "sentinel_password"):
        if options[name] is not None and "sentinel" not in modes:
            raise ConfigError(f"the option {name!r} is for Sentinels: write redis+sentinel://")
    if "sentinel" in modes:
        if not options["master"]:
            raise ConfigError("redis+sentinel:// needs the name of the primary: add ?master=NAME (often mymaster)")
        return Sentinels(
            request.hosts,
            options["master"],
            login,
            Login(options["sentinel_user"], options["sentinel_password"], 0, request.tls),
        )
    if "cluster" in modes:
        if login.db:
            raise ConfigError("a Redis Cluster has one database: leave out the option db")
        return Cluster(request.hosts, names.tag, login)
    if "unix" in modes:
        if request.tls is not None:
            raise ConfigError("redis+unix:// doesn't go with tls: nobody listens in on a socket of this machine")
        if not all(host.name.startswith("/") for host in request.hosts):
            raise ConfigError(
                "redis+unix:// names the socket by its absolute path with %2F for each slash, as in "
                "redis+unix://%2Frun%2Fredis%2Fredis.sock/namespace"
            )
    return Direct(_places(request), login)


def _try_rights(pool: Pool, names: Names, until: float) -> None:
    """See that the user may run every command that scripts use: a right missing later would stop one half way."""
    connection, _ = pool.take(_left(until))
    with pool.using(connection, "connecting"):
        missing = connection.call("EVAL", scripts.GREET.text, 1, names.slot("rights"), timeout=_left(until))
    if missing:
        refusals = " ".join(f"+{name.decode()}" for name in missing)
        raise PermissionDenied(
            f"connecting: this user of Redis at {connection.where} lacks rights that Tenure needs: ACL SETUSER ... "
            f"{refusals} ~{names.tag}:* (or +@all -@dangerous +info)"
        )


def _left(until: float) -> float:
    return max(until - time.monotonic(), 0.001)
