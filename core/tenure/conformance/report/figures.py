"""Numbers about many operations: quantiles, and histograms that are even on a logarithmic scale."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tenure.conformance.harness.evidence import OperationSeen

_PER_DECADE = 8


def by_operation(operations: Iterable[OperationSeen]) -> dict[str, list[float]]:
    """Return the seconds of the calls that returned, by operation, in ascending order."""
    found: dict[str, list[float]] = {}
    for seen in operations:
        if seen.error is None:
            found.setdefault(seen.operation, []).append(seen.seconds)
    return {operation: sorted(found[operation]) for operation in sorted(found)}


def quantiles(ordered: Sequence[float]) -> dict[str, float | int]:
    """Return count, median, 90th and 99th percentile and maximum of ascending seconds."""

    def at(part: float) -> float:
        return rounded(ordered[min(len(ordered) - 1, math.ceil(part * len(ordered)) - 1)])

    return {"count": len(ordered), "p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "max": at(1.0)}


def histogram(seconds: Iterable[float]) -> list[list[float]]:
    """Return ``[upper bound in seconds, count]`` of each bucket with any calls; eight buckets to a factor of ten."""
    counts: dict[int, int] = {}
    for value in seconds:
        bucket = math.ceil(math.log10(max(value, 1e-7)) * _PER_DECADE)
        counts[bucket] = counts.get(bucket, 0) + 1
    return [[float(f"{10 ** (bucket / _PER_DECADE):.4g}"), counts[bucket]] for bucket in sorted(counts)]


def latencies(operations: Iterable[OperationSeen]) -> Mapping[str, Any]:
    """Return the quantiles of each operation."""
    return {name: quantiles(values) for name, values in by_operation(operations).items()}


def downsampled(values: Sequence[Any], most: int) -> list[Any]:
    """Return ``values``, or ``most`` of them spread evenly."""
    if len(values) <= most:
        return list(values)
    return [values[number * len(values) // most] for number in range(most)]


def rounded(seconds: float) -> float:
    """Round to six digits; more would be noise."""
    return float(f"{seconds:.6g}")
