"""The same metrics for Prometheus, without OpenTelemetry.

Names and labels are those that OpenTelemetry's exporter for Prometheus gives, so the same board and the same rules fit.
Nothing is kept but one number for each set of labels, and one for each bucket.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tenure_telemetry import instruments
from tenure_telemetry.instruments import Instrument, Kind
from tenure_telemetry.labels import AllowList, Labels
from tenure_telemetry.measures import Measures, Sink, after_fork

if TYPE_CHECKING:
    from prometheus_client import Metric

_TYPES = {Kind.COUNTER: "counter", Kind.UP_DOWN: "gauge", Kind.GAUGE: "gauge", Kind.HISTOGRAM: "histogram"}
_UNITS = {"s": "_seconds"}
_Key = tuple[tuple[str, str | int], ...]


@dataclass(slots=True)
class _Buckets:
    """One histogram: values in each bucket, the last one without a limit."""

    counts: list[int]
    total: float = 0.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One line of what Prometheus reads.

    Attributes:
        name: the name, with what it is of a histogram at its end.
        labels: the labels by their names.
        value: the value.
    """

    name: str
    labels: dict[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Family:
    """One metric with its samples.

    Attributes:
        name: the name.
        type: ``"counter"``, ``"gauge"`` or ``"histogram"``.
        help: what it shows.
        samples: its samples.
    """

    name: str
    type: str
    help: str
    samples: list[Sample] = field(default_factory=list)


class PrometheusCollector(Measures):
    """The observer, and what Prometheus reads: :meth:`render` gives its text format, and needs nothing installed.

    It is also a collector for ``prometheus_client``: ``REGISTRY.register(collector)``.

    >>> import tenure
    >>> collector = PrometheusCollector()
    >>> with tenure.connect("memory://", observers=[collector]) as store:
    ...     item = store.get("key")
    ...     "tenure_stores_open" in collector.render()
    True

    Args:
        allow: names that may become labels; default: none.
    """

    def __init__(self, allow: AllowList | None = None) -> None:
        self._numbers = _Numbers()
        super().__init__(self._numbers, allow)

    def families(self) -> Iterator[Family]:
        """Return what has been measured until now.

        Returns:
            Each metric that has a value.
        """
        sums, histograms = self._numbers.copy()
        ages = {_key(labels): seconds for seconds, labels in self.cache_ages()}
        for one in instruments.ALL:
            family = Family(exported_name(one), _TYPES[one.kind], one.description)
            if one.kind is Kind.HISTOGRAM:
                for key, buckets in histograms.get(one, {}).items():
                    family.samples.extend(_histogram(family.name, _labels(key), one, buckets))
            else:
                values: Mapping[_Key, float] = ages if one.kind is Kind.GAUGE else sums.get(one, {})
                family.samples.extend(Sample(family.name, _labels(key), value) for key, value in values.items())
            if family.samples:
                yield family

    def render(self) -> str:
        """Return all metrics in the text format of Prometheus, for an answer of ``/metrics``.

        Returns:
            The text; its type is ``text/plain; version=0.0.4; charset=utf-8``.
        """
        lines: list[str] = []
        for family in self.families():
            lines += [f"# HELP {family.name} {family.help}", f"# TYPE {family.name} {family.type}"]
            lines += [f"{sample.name}{_shown(sample.labels)} {float(sample.value)!r}" for sample in family.samples]
        return "\n".join([*lines, ""])

    def collect(self) -> Iterable[Metric]:
        """Return all metrics for ``prometheus_client``, which calls this.

        Returns:
            The metrics.
        """
        from prometheus_client import Metric  # noqa: PLC0415 - only those who have it call this

        for family in self.families():
            metric = Metric(family.name.removesuffix("_total"), family.help, family.type)
            for sample in family.samples:
                metric.add_sample(sample.name, sample.labels, sample.value)
            yield metric

    def describe(self) -> Iterable[Metric]:
        """Return nothing: ``prometheus_client`` asks at the registration, when nothing is measured yet.

        Returns:
            No metric.
        """
        return []


class _Numbers(Sink):
    def __init__(self) -> None:
        self._forget()
        after_fork(self)

    def _forget(self) -> None:
        # Reentrant: a signal handler that calls the store may interrupt a method that has it.
        self._lock = threading.RLock()
        self._sums: dict[Instrument, dict[_Key, float]] = {}
        self._histograms: dict[Instrument, dict[_Key, _Buckets]] = {}

    def add(self, instrument: Instrument, value: int, labels: Mapping[str, str | int]) -> None:
        key = _key(labels)
        with self._lock:
            sums = self._sums.setdefault(instrument, {})
            sums[key] = sums.get(key, 0) + value

    def record(self, instrument: Instrument, value: float, labels: Mapping[str, str | int]) -> None:
        key = _key(labels)
        limits = instrument.boundaries
        with self._lock:
            buckets = self._histograms.setdefault(instrument, {}).get(key)
            if buckets is None:
                buckets = self._histograms[instrument][key] = _Buckets([0] * (len(limits) + 1))
            buckets.counts[bisect_left(limits, value)] += 1
            buckets.total += value

    def copy(self) -> tuple[dict[Instrument, dict[_Key, float]], dict[Instrument, dict[_Key, _Buckets]]]:
        """Return all numbers as they are at one moment."""
        with self._lock:
            sums = {one: dict(values) for one, values in self._sums.items()}
            histograms = {
                one: {key: _Buckets(list(buckets.counts), buckets.total) for key, buckets in values.items()}
                for one, values in self._histograms.items()
            }
        return sums, histograms


def exported_name(instrument: Instrument) -> str:
    """Return the name of an instrument for Prometheus, as OpenTelemetry's exporter makes it.

    Args:
        instrument: the instrument.

    Returns:
        The name: underscores for dots, the unit, and ``_total`` for a counter.
    """
    name = instrument.name.replace(".", "_") + _UNITS.get(instrument.unit, "")
    return f"{name}_total" if instrument.kind is Kind.COUNTER else name


def exported_labels(instrument: Instrument) -> frozenset[str]:
    """Return the labels that an instrument may have for Prometheus.

    Args:
        instrument: the instrument.

    Returns:
        Their names, with ``le`` for a histogram.
    """
    own = {label.replace(".", "_") for label in instrument.labels}
    return frozenset(own | {"le"} if instrument.kind is Kind.HISTOGRAM else own)


def _key(labels: Mapping[str, str | int]) -> _Key:
    return tuple(labels.items())


def _labels(key: _Key) -> dict[str, str]:
    return {name.replace(".", "_"): str(value) for name, value in key}


def _histogram(name: str, labels: dict[str, str], one: Instrument, buckets: _Buckets) -> Iterator[Sample]:
    count = 0
    for limit, number in zip((*one.boundaries, float("inf")), buckets.counts, strict=True):
        count += number
        le = "+Inf" if limit == float("inf") else repr(limit)
        yield Sample(f"{name}_bucket", {**labels, "le": le}, count)
    yield Sample(f"{name}_count", labels, count)
    yield Sample(f"{name}_sum", labels, buckets.total)


def _shown(labels: Labels | dict[str, str]) -> str:
    shown = ",".join(f'{name}="{_escaped(str(value))}"' for name, value in labels.items())
    return f"{{{shown}}}" if shown else ""


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
