"""The Redis store keeps every rule; a server of our own is killed, restarted, cut off and trimmed, too."""

from collections.abc import Iterator

import pytest

from leasehold.conformance import Driver, StoreConformance
from leasehold_servers import require
from leasehold_servers.redis import RedisServer
from leasehold_servers.redis_plugin import need_redis


@pytest.fixture(scope="module")
def own_server() -> Iterator[RedisServer | None]:
    if require.given_url("redis"):
        yield None
        return
    need_redis()
    with RedisServer() as server:
        yield server


class TestRedis(StoreConformance):
    @pytest.fixture
    def store_url(self, own_server: RedisServer | None) -> str:
        return own_server.url if own_server else str(require.given_url("redis"))

    @pytest.fixture
    def driver(self, own_server: RedisServer | None) -> Driver:
        if own_server is None:
            return Driver()
        return Driver(
            kill=own_server.kill, start=own_server.start, cut=own_server.drop_clients, compact=own_server.trim
        )
