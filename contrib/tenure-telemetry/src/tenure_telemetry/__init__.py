"""Observers of Tenure for OpenTelemetry, for Prometheus and for ``logging``.

Pass one or several to ``tenure.connect(url, observers=[...])``:

* :class:`tenure_telemetry.opentelemetry.OpenTelemetry`: metrics and spans. It needs ``opentelemetry-api`` alone.
* :class:`tenure_telemetry.prometheus.PrometheusCollector`: the same metrics without OpenTelemetry.
* :class:`tenure_telemetry.events.EventLog`: log records with stable event names and fields.

No name of a key, a lock or a service becomes a label, unless :class:`tenure_telemetry.labels.AllowList` has it.
"""

from tenure_telemetry.events import EventLog
from tenure_telemetry.labels import AllowList
from tenure_telemetry.prometheus import PrometheusCollector

__all__ = ["AllowList", "EventLog", "PrometheusCollector"]
