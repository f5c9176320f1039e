"""The shared suite on this store; a server of our own is killed, restarted, cut off and trimmed, too."""

from __future__ import annotations

import os

import pytest
from postgresql_server import PostgresqlServer

from leasehold.conformance import Driver, StoreConformance

GIVEN = os.environ.get("LEASEHOLD_POSTGRESQL_URL")


@pytest.fixture(scope="module")
def own_server(request: pytest.FixtureRequest) -> PostgresqlServer | None:
    if GIVEN:
        return None
    server: PostgresqlServer = request.getfixturevalue("shared_server")
    return server


class TestPostgresql(StoreConformance):
    @pytest.fixture
    def store_url(self, own_server: PostgresqlServer | None) -> str:
        return own_server.url() if own_server else str(GIVEN)

    @pytest.fixture
    def driver(self, own_server: PostgresqlServer | None) -> Driver:
        if own_server is None:
            return Driver()
        return Driver(
            kill=own_server.kill,
            start=own_server.start,
            wipe=own_server.wipe,
            cut=own_server.cut,
            compact=own_server.compact,
            pause=own_server.pause,
            resume=own_server.resume,
        )
