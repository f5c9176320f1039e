"""What the diagnosis finds on a real Consul: its hosts, and how many connections it takes."""

from __future__ import annotations

from tenure._client.opening import prepare
from tenure.diagnosis import examine
from tenure.spi import Verdict
from tenure_testkit.waiting import PATIENCE


def test_what_is_seen(consul_own_url: str) -> None:
    checks = {check.name: check for check in examine(prepare(consul_own_url, timeout=PATIENCE), samples=1).checks}
    assert checks["access"].verdict in (Verdict.OK, Verdict.WARNING)
    assert checks["hosts"].verdict is Verdict.OK
    assert "http_max_conns_per_client" in checks["connections"].text
    assert checks["watch"].verdict is Verdict.OK
