"""The pytest plugin with the fixtures for Redis; `tests/conftest.py` loads it after `plugin`.

redis_url         URL of a Redis that all tests of the run share: a container, or TENURE_REDIS_URL
redis_own_url     the same Redis with a namespace that no other test uses
redis_server      the shared Redis as a `RedisServer`; don't stop it, freeze it or flush it
redis_node        a `RedisServer` for one test alone, which keeps its data over a restart
redis_forgetful   the same, without persistence
redis_sentinel    a primary, a replica and a Sentinel, for one test alone
redis_cluster     three primaries of a Redis Cluster, shared; don't hurt them
"""

from collections.abc import Iterator

import pytest

from tenure_testkit.servers import require
from tenure_testkit.servers.namespace import own_namespace
from tenure_testkit.servers.plugin import need_container
from tenure_testkit.servers.redis import RedisServer
from tenure_testkit.servers.redis_group import RedisCluster, RedisSentinelGroup


def need_redis() -> None:
    """Go on only where a Redis can be had as a container of our own."""
    require.need_module("redis", "redis")
    require.need_module("redis", "hiredis")
    need_container("redis")


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """The Redis that the whole run shares. Use a namespace of your own, and leave it running."""
    need_redis()
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="session")
def redis_url(request: pytest.FixtureRequest) -> str:
    """The URL of the shared Redis."""
    given = require.given_url("redis")
    if given is not None:
        require.need_module("redis", "redis")
        return given
    server: RedisServer = request.getfixturevalue("redis_server")
    return server.url


@pytest.fixture
def redis_own_url(redis_url: str) -> str:
    """The shared Redis with a namespace of the test's own."""
    return own_namespace(redis_url)


@pytest.fixture
def redis_node() -> Iterator[RedisServer]:
    """A Redis of the test's own, empty at the start, that keeps what it acknowledged."""
    need_redis()
    with RedisServer() as server:
        yield server


@pytest.fixture
def redis_forgetful() -> Iterator[RedisServer]:
    """A Redis of the test's own that is empty again after a restart."""
    need_redis()
    with RedisServer(persistent=False) as server:
        yield server


@pytest.fixture
def redis_sentinel() -> Iterator[RedisSentinelGroup]:
    """A primary, a replica and a Sentinel of the test's own."""
    need_redis()
    with RedisSentinelGroup() as group:
        yield group


@pytest.fixture(scope="session")
def redis_cluster() -> Iterator[RedisCluster]:
    """A Redis Cluster that the whole run shares."""
    need_redis()
    with RedisCluster() as cluster:
        yield cluster
