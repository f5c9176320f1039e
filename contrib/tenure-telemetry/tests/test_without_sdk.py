"""Only OpenTelemetry's API is needed, and for the collector and the log nothing at all."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys

class Refuses:
    def find_spec(self, name, path=None, target=None):
        if name.startswith({refused}):
            raise ImportError(f"{{name}} is refused")

sys.meta_path.insert(0, Refuses())
import tenure
from tenure_telemetry import EventLog, PrometheusCollector
{imports}
collector = PrometheusCollector()
with tenure.connect("memory://", observers=[collector, EventLog(), {observer}]) as store:
    store.put("key", b"value")
    print(store.get("key").value, "db_client_operation_duration_seconds_count" in collector.render())
"""


def run(refused: tuple[str, ...], imports: str = "", observer: str = "") -> str:
    program = PROGRAM.format(refused=repr(refused), imports=imports, observer=observer)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_opentelemetry_without_an_sdk() -> None:
    refused = ("opentelemetry.sdk", "opentelemetry.exporter", "opentelemetry.semconv", "prometheus_client")
    imports = "from tenure_telemetry.opentelemetry import OpenTelemetry"
    assert run(refused, imports, "OpenTelemetry()") == "b'value' True\n"


def test_collector_and_log_without_anything() -> None:
    assert run(("opentelemetry", "prometheus_client")) == "b'value' True\n"
