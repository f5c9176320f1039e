"""Tools that freeze time for tests make no deadline endless, and no lease last for ever or end early, on any store."""

import pytest

from tenure_testkit.probes import frozen_time, network

from .conftest import SERVERS

TTL = 2.0


def test_waits_end_and_leases_are_kept(store_url: str) -> None:
    frozen_time.waits_end_and_leases_are_kept(store_url, TTL)


@pytest.mark.parametrize("scheme", SERVERS)
def test_calls_end_in_time(scheme: str, request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue(f"{scheme}_own_url")
    frozen_time.calls_end_in_time(url, network.port_of(url))
