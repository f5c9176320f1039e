"""Prometheus' own checker reads the rules and the board's queries, and lets the rules fire and stay quiet."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from everything import happen
from tenure_telemetry import PrometheusCollector

from tenure_testkit.servers import engine, require

HERE = Path(__file__).parents[1]
IMAGE = HERE.parent / "tenure-gateway/docker"
"""Has Debian's Prometheus."""

pytestmark = [pytest.mark.faults, pytest.mark.slow]


@pytest.fixture(autouse=True)
def _needs_an_engine() -> None:
    if (reason := engine.skip_reason()) is not None:
        (pytest.fail if require.is_required("telemetry") else pytest.skip)(f"promtool isn't run: {reason}")


def promtool(folder: Path, command: str) -> str:
    """Run promtool in ``folder``. Raises ``docker.errors.ContainerError`` with what it printed if it fails."""
    output = engine.client().containers.run(
        engine.image(str(IMAGE)),
        ["sh", "-c", f"promtool {command}"],
        remove=True,
        labels=engine.labels(),
        working_dir="/rules",
        volumes={str(folder): {"bind": "/rules", "mode": "ro"}},
        stdout=True,
        stderr=True,
    )
    return bytes(output).decode()


def test_the_rules_fire_and_stay_quiet() -> None:
    assert "SUCCESS" in promtool(HERE / "prometheus", "test rules tenure.rules.test.yml")


def test_a_wrong_expectation_fails(tmp_path: Path) -> None:
    for name in ("tenure.rules.yml", "tenure.rules.test.yml"):
        text = (HERE / "prometheus" / name).read_text(encoding="utf-8")
        (tmp_path / name).write_text(text.replace("tenure_cache_age_seconds) > 120", "tenure_cache_age_seconds) > 1e9"))
    with pytest.raises(Exception, match="TenureCacheStale"):
        promtool(tmp_path, "test rules tenure.rules.test.yml")


def test_the_collector_writes_what_prometheus_reads_and_names_as_it_wants(tmp_path: Path) -> None:
    collector = PrometheusCollector()
    happen(collector)
    (tmp_path / "metrics").write_text(collector.render())
    assert promtool(tmp_path, "check metrics < metrics") == ""


def test_the_board_has_queries_that_prometheus_reads(tmp_path: Path) -> None:
    board = json.loads((HERE / "grafana/tenure.json").read_text(encoding="utf-8"))
    queries = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    filled = [query.replace("$__rate_interval", "1m").replace("$system", ".*") for query in queries]
    rules = [{"record": f"query_{number}", "expr": query} for number, query in enumerate(filled)]
    (tmp_path / "board.yml").write_text(yaml.safe_dump({"groups": [{"name": "board", "rules": rules}]}))
    found = re.search(r"SUCCESS: (\d+) rules found", promtool(tmp_path, "check rules board.yml"))
    assert found
    assert int(found[1]) == len(queries) > 20
