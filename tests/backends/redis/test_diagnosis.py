"""What the diagnosis finds on a real Redis: eviction, persistence, connections, history, hosts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import tenure
from tenure._client.opening import prepare
from tenure.diagnosis import examine
from tenure.spi import Finding, Verdict
from tenure_redis import diagnosis
from tenure_redis.server_settings import ServerSettings
from tenure_testkit.servers.redis import RedisServer
from tenure_testkit.servers.redis_plugin import need_redis
from tenure_testkit.waiting import PATIENCE


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    need_redis()
    with RedisServer() as server:
        yield server


def found(url: str) -> dict[str, Finding]:
    checks = examine(prepare(url, timeout=PATIENCE), samples=1).checks
    return {check.name: check for check in checks if check.name != "server"}


def test_what_is_seen(server: RedisServer) -> None:
    before = found(server.url)
    for name in ("connections", "history", "hosts", "watch", "lease", "leases"):
        assert before[name].verdict is Verdict.OK, before[name]
    assert "maxmemory 0 is no limit" in before["memory"].text
    assert "one machine has the only copy" in before["replicas"].text
    assert before["eviction"].text == "maxmemory-policy is noeviction: no key is thrown away"
    server.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru", "appendfsync", "no", "maxclients", "6")
    try:
        with tenure.connect(server.url) as store, tenure.connect(server.url), store.watch():
            after = found(server.url)
    finally:
        server.ask("CONFIG", "SET", "maxmemory-policy", "noeviction", "appendfsync", "always", "maxclients", "1000")
    assert (after["eviction"].verdict, "noeviction" in after["eviction"].advice) == (Verdict.WARNING, True)
    assert (after["persistence"].verdict, bool(after["persistence"].advice)) == (Verdict.WARNING, True)
    assert "of 6 connections" in after["connections"].text


def test_a_server_that_everyone_may_use(server: RedisServer) -> None:
    """The address in the URL is a loopback one, and tells nothing of where the server listens."""
    access = found(server.url)["access"]
    assert (access.verdict, "no password" in access.text) == (Verdict.WARNING, True), access
    server.ask("ACL", "SETUSER", "all", "on", ">pw", "+@all", "~*", "&*")
    assert found(f"redis://all:pw@127.0.0.1:{server.port}")["access"] == access


@pytest.mark.parametrize(
    ("config", "beyond"),
    [
        ({"bind": "* -::*", "protected-mode": "no"}, True),
        ({"bind": "", "protected-mode": "no"}, True),
        ({"bind": "127.0.0.1 10.0.0.5", "protected-mode": "no"}, True),
        ({"bind": "127.0.0.1 -::1", "protected-mode": "no"}, False),
        ({"bind": "*", "protected-mode": "yes"}, False),
        ({}, False),
    ],
)
def test_where_a_server_listens(config: dict[str, str], beyond: bool) -> None:
    assert diagnosis._listens_beyond(ServerSettings(config=config)) is beyond


def test_a_user_with_few_rights_gets_what_may_be_known(server: RedisServer) -> None:
    server.ask("ACL", "SETUSER", "few", "on", ">pw", "+@all", "-@dangerous", "~{leasehold}:*")
    checks = found(f"redis://few:pw@127.0.0.1:{server.port}")
    assert checks["hosts"].verdict is Verdict.OK
    assert "eviction" not in checks
    assert "may not ask" in checks["access"].text
