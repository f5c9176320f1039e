"""The ten methods of the SPI, each handed to the module that does it, and how a store is opened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tenure.errors import ConfigError, PermissionDenied, Unsupported
from tenure.plugin_kit import Deadline, Monitor, ProgressDeadline, Resolver, TlsContext
from tenure.spi.backend import Backend
from tenure.spi.capabilities import Capabilities
from tenure.spi.credentials import Credentials
from tenure.spi.diagnosis import Finding
from tenure.spi.feed import Feed, Sink
from tenure.spi.plugin import Host, OpenRequest
from tenure.spi.types import (
    CommitResult,
    LeaseGrant,
    LeaseId,
    LeaseInfo,
    ListRequest,
    MultiReadResult,
    Page,
    PrefixDeletion,
    ReadResult,
    ServerInfo,
    Transaction,
    WatchRequest,
)
from tenure_redis import diagnosis, leases, reads, scripts, server_info, server_settings, transactions
from tenure_redis.capabilities import declare
from tenure_redis.endpoints import Cluster, Direct, Locator, Sentinels
from tenure_redis.keys import Names
from tenure_redis.login import Login, UnixSocket
from tenure_redis.pool import Pool
from tenure_redis.watch import Watches


class RedisBackend(Backend):
    """One store in an opened Redis."""

    def __init__(self, pool: Pool, request: OpenRequest, capabilities: Capabilities) -> None:
        self._pool = pool
        self._request = request
        self._capabilities = capabilities
        self._watches = Watches(pool, silence=request.options["silence"])
        self._native: Any = None
        self._native_lock = Monitor()

    @classmethod
    def open(cls, request: OpenRequest) -> RedisBackend:
        """Connect, log in, and try the rights that are needed. Raises as ``BackendPlugin.open`` says."""
        deadline = Deadline(request.timeout)
        names = Names.of(request.options["store"])
        pool = Pool(_locator(request, names), names, history=request.options["history"])
        try:
            _try_rights(pool, names, deadline)
            settings = server_settings.ask(pool, deadline)
        except BaseException:
            pool.close()
            raise
        declared = declare(settings, failover=pool.locator.failover, silence=request.options["silence"])
        return cls(pool, request, declared)

    @property
    def native(self) -> Any:
        """A ``redis.Redis`` (with Cluster a ``redis.RedisCluster``) of its own for the same server; it connects when
        first used, with Cluster when first asked for, closes with the store, and repeats no command by itself."""
        with self._native_lock:
            if self._native is None:
                # redis-py takes a tenth of a second to import, and nothing else here needs it.
                from tenure_redis.native import client  # noqa: PLC0415

                self._native = client(self._request)
            return self._native

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    def get(self, key: str, *, timeout: float) -> ReadResult:
        return reads.get(self._pool, key, Deadline(timeout))

    def list(self, request: ListRequest, *, timeout: float) -> Page:
        if request.revision is not None:
            raise Unsupported(
                "Redis keeps no past states to list: its capabilities declare consistent_pagination=False"
            )
        return reads.list_page(self._pool, request, ProgressDeadline.of_request(timeout, request.patience))

    def get_many(self, keys: Sequence[str], *, timeout: float) -> MultiReadResult:
        return reads.get_many(self._pool, keys, Deadline(timeout))

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        return transactions.commit(self._pool, transaction, Deadline(timeout))

    def delete_prefix(self, prefix: str, *, timeout: float) -> PrefixDeletion:
        return transactions.delete_prefix(self._pool, prefix, Deadline(timeout))

    def grant(self, ttl: float, *, timeout: float) -> LeaseGrant:
        return leases.grant(self._pool, ttl, Deadline(timeout))

    def refresh(self, lease_ids: Sequence[LeaseId], *, timeout: float) -> dict[LeaseId, float]:
        return leases.refresh(self._pool, lease_ids, Deadline(timeout))

    def revoke(self, lease_ids: Sequence[LeaseId], *, timeout: float) -> frozenset[LeaseId]:
        return leases.revoke(self._pool, lease_ids, Deadline(timeout))

    def leases(self, lease_id: LeaseId | None, *, timeout: float) -> tuple[LeaseInfo, ...]:
        return leases.describe(self._pool, lease_id, Deadline(timeout))

    def watch(self, request: WatchRequest, *, sink: Sink, timeout: float) -> Feed:
        deadline = ProgressDeadline.of_request(timeout, request.patience)
        return self._watches.open(request, sink=sink, deadline=deadline)

    def server_info(self, *, timeout: float) -> ServerInfo:
        return server_info.describe(
            self._pool,
            _hosts(self._request),
            Deadline(timeout),
            encrypted=self._request.tls is not None,
            login=self._request.login_source().current().password is not None,
        )

    def diagnose(self, *, timeout: float) -> tuple[Finding, ...]:
        login = self._request.login_source().current().password is not None
        return diagnosis.examine(self._pool, _hosts(self._request), self._request.tls, Deadline(timeout), login=login)

    def close(self) -> None:
        if not self._pool.close():
            return
        self._watches.close()
        with self._native_lock:
            if self._native is not None:
                self._native.close()


def _hosts(request: OpenRequest) -> tuple[Host, ...]:
    """The hosts of the URL, or the sockets of this machine."""
    if "unix" in request.variants:
        return tuple(UnixSocket(host.name, host.port) for host in request.hosts)
    return request.hosts


def _locator(request: OpenRequest, names: Names) -> Locator:
    """Who finds the primary. Raises ``ConfigError`` for options that don't go together, and for TLS files."""
    _check(request)
    options, modes, hosts = request.options, request.variants, _hosts(request)
    tls = None if request.tls is None else TlsContext(request.tls)
    resolver = Resolver()
    login = Login(request.login_source(), options["db"], tls, resolver)
    if "sentinel" in modes:
        sentinel_user = Credentials.fixed(options["sentinel_user"], options["sentinel_password"])
        sentinel_login = Login(sentinel_user, 0, tls, resolver)
        return Sentinels(hosts, options["master"], login, sentinel_login)
    if "cluster" in modes:
        return Cluster(hosts, names.tag, login)
    return Direct(hosts, login)


def _check(request: OpenRequest) -> None:
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
    if "sentinel" in modes and not options["master"]:
        raise ConfigError("redis+sentinel:// needs the name of the primary: add ?master=NAME (often mymaster)")
    if "cluster" in modes and options["db"]:
        raise ConfigError("a Redis Cluster has one database: leave out the option db")
    if "unix" in modes:
        if request.tls is not None:
            raise ConfigError("redis+unix:// doesn't go with tls: no other machine can read a local socket")
        if not all(host.name.startswith("/") for host in request.hosts):
            raise ConfigError(
                "redis+unix:// names the socket by its absolute path with %2F for each slash, as in "
                "redis+unix://%2Frun%2Fredis%2Fredis.sock/namespace"
            )


def _try_rights(pool: Pool, names: Names, deadline: Deadline) -> None:
    """See that the user may run every command that scripts use: a right missing later would stop one half way."""
    with pool.session(deadline, "connecting") as connection:
        missing = connection.call("EVAL", scripts.GREET.text, 1, names.slot("rights"), deadline=deadline)
    if missing:
        refusals = " ".join(f"+{name.decode()}" for name in missing)
        raise PermissionDenied(
            f"connecting: this user of Redis at {connection.where} lacks rights that Tenure needs: ACL SETUSER ... "
            f"{refusals} ~{names.tag}:* (or +@all -@dangerous +info)"
        )
