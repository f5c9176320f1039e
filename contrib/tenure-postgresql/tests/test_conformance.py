"""The shared suite on this store; a server of our own is killed, restarted, cut off, emptied and trimmed, its disk is
filled, too."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from postgresql_server import Disk, PostgresqlServer

from tenure.conformance import ServerControls, StoreConformance

GIVEN = os.environ.get("TENURE_POSTGRESQL_URL")


@pytest.fixture(scope="module")
def own_server(request: pytest.FixtureRequest) -> Iterator[PostgresqlServer | None]:
    if GIVEN:
        yield None
        return
    request.getfixturevalue("need_engine")
    with Disk() as disk, PostgresqlServer("max_wal_size=128MB", disk=disk) as server:
        yield server


class TestPostgresql(StoreConformance):
    @pytest.fixture
    def store_url(self, own_server: PostgresqlServer | None) -> str:
        return own_server.url() if own_server else str(GIVEN)

    @pytest.fixture
    def store_controls(self, own_server: PostgresqlServer | None) -> ServerControls:
        return own_server.controls() if own_server else ServerControls()
