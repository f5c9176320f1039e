"""Redis keeps every rule, on a server that is killed, restarted, cut off and trimmed, and keeps what it acknowledged.

On one as Debian's package sets it up, which doesn't, the rules are tried whose outcome depends on that.
"""

from collections.abc import Iterator

import pytest

from tenure.conformance import ServerControls, StoreConformance
from tenure_testkit.servers import require
from tenure_testkit.servers.controls import controls
from tenure_testkit.servers.redis import RedisServer
from tenure_testkit.servers.redis_plugin import need_redis


@pytest.fixture(scope="module")
def own_server() -> Iterator[RedisServer | None]:
    if require.given_url("redis"):
        yield None
        return
    need_redis()
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="module")
def default_server() -> Iterator[RedisServer]:
    need_redis()
    with RedisServer(defaults=True) as server:
        yield server


def all_controls(server: RedisServer) -> ServerControls:
    return controls(server, cut=server.drop_clients, compact=server.trim)


class TestRedis(StoreConformance):
    @pytest.fixture
    def store_url(self, own_server: RedisServer | None) -> str:
        return own_server.url if own_server else str(require.given_url("redis"))

    @pytest.fixture
    def store_controls(self, own_server: RedisServer | None) -> ServerControls:
        if own_server is None:
            return ServerControls()
        return all_controls(own_server)


@pytest.mark.variant
class TestRedisDefaults(StoreConformance):
    """A restart may forget writes: rules about servers that end. A server that runs serves from memory either way."""

    areas = ("restarts",)

    @pytest.fixture
    def store_url(self, default_server: RedisServer) -> str:
        return default_server.url

    @pytest.fixture
    def store_controls(self, default_server: RedisServer) -> ServerControls:
        return all_controls(default_server)
