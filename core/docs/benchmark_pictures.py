"""Draws the last recorded benchmarks: how much a call costs beside the raw client, and how costs grow with the keys."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from drawing import Drawing

RESULTS = Path(__file__).parents[2] / "tests/benchmarks/results"
_LEFT, _SCALE, _MOST = 300, 110.0, 4.5


def last_record() -> dict[str, Any]:
    """Return the newest record of ``tests/benchmarks/results``."""
    records = [json.loads(path.read_text(encoding="utf-8")) for path in RESULTS.glob("*.json")]
    return dict(max(records, key=lambda record: record["at"]))


def ratios() -> Drawing:
    """A bar for each ratio to the raw client, with its interval."""
    record = last_record()
    found = {name: numbers for name, numbers in record["numbers"].items() if "low" in numbers}
    picture = Drawing(
        860,
        112 + 24 * len(found),
        "Time of a call through Tenure divided by the time of the raw client, with the 95 % interval: "
        + "; ".join(f"{name} {numbers['ratio']:.2f}" for name, numbers in found.items()),
    )
    picture.text(40, 34, "Time through Tenure, divided by that of the raw client", bold=True, size=14)
    bottom = 62 + 24 * len(found)
    for mark in range(5):
        x = _LEFT + mark * _SCALE
        picture.line(x, 48, x, bottom, "cut" if mark == 1 else "line", dashed=True)
        picture.text(x, bottom + 16, f"{mark}", "soft", size=12, anchor="middle")
    for number, (name, numbers) in enumerate(found.items()):
        y = 64 + 24 * number
        picture.text(_LEFT - 12, y + 5, name, size=12, anchor="end")
        low, ratio, high = (min(numbers[key], _MOST) for key in ("low", "ratio", "high"))
        picture.line(_LEFT + low * _SCALE, y, _LEFT + high * _SCALE, y)
        picture.text(_LEFT + high * _SCALE + 6, y + 4, ">" if numbers["high"] > _MOST else "", "soft", size=12)
        picture.box(_LEFT + ratio * _SCALE - 4, y - 6, 8, 12, "", "good" if ratio <= 1 else "late")
        picture.text(850, y + 4, f"{numbers['ratio']:.2f}", "soft", size=12, anchor="end")
    picture.text(40, bottom + 38, _when(record), "soft", size=12)
    return picture


def growth() -> Drawing:
    """A small plot for each kind of work: seconds of processor against keys, both logarithmic."""
    record = last_record()
    curves: dict[str, dict[str, dict[str, float]]] = {}
    for name, numbers in record["numbers"].items():
        word, _, rest = name.partition(" ")
        if word == "growth" and "exponent" in numbers:
            store, _, work = rest.partition(" ")
            curves.setdefault(work, {})[store] = numbers
    picture = Drawing(
        860,
        430,
        "How processor time grows with the number of keys: "
        + "; ".join(
            f"{work} on {store}: exponent {numbers['exponent']:.2f}"
            for work, stores in curves.items()
            for store, numbers in stores.items()
        ),
    )
    picture.text(40, 34, "Seconds of processor time against keys, both logarithmic", bold=True, size=14)
    for number, (work, stores) in enumerate(sorted(curves.items())):
        _plot(picture, 70 + number % 2 * 410, 64 + number // 2 * 175, work, stores)
    picture.text(40, 418, _when(record), "soft", size=12)
    return picture


def _plot(picture: Drawing, left: float, top: float, work: str, stores: dict[str, dict[str, float]]) -> None:
    width, height = 250.0, 110.0
    picture.text(left, top, work, bold=True)
    sizes = sorted(int(key) for key in next(iter(stores.values())) if key.isdigit())
    times = [numbers[str(size)] for numbers in stores.values() for size in sizes]
    low, high = math.floor(math.log10(min(times))), math.ceil(math.log10(max(times)))

    def place(size: int, seconds: float) -> tuple[float, float]:
        across = math.log10(size / sizes[0]) / math.log10(sizes[-1] / sizes[0])
        return left + width * across, top + 10 + height * (high - math.log10(seconds)) / (high - low)

    for power in range(low, high + 1):
        _, y = place(sizes[0], 10.0**power)
        picture.line(left, y, left + width, y, dashed=True)
        picture.text(left - 6, y + 4, f"{10.0**power:g} s", "soft", size=12, anchor="end")
    for size in sizes:
        x, _ = place(size, 10.0**low)
        picture.text(x, top + height + 26, f"{size:,}", "soft", size=12, anchor="middle")
    ends = sorted((place(sizes[-1], numbers[str(sizes[-1])])[1], store) for store, numbers in stores.items())
    last = -math.inf
    for at, store in ends:
        y = last = max(at, last + 14)
        words = f"{store}, slope {stores[store]['exponent']:.2f}".replace("-0.00", "0.00")
        picture.text(left + width + 8, y + 4, words, size=12)
    for numbers in stores.values():
        picture.curve([place(size, numbers[str(size)]) for size in sizes])


def _when(record: dict[str, Any]) -> str:
    machine = record["machine"]
    return (
        f"Recorded {record['at'][:10]} at {record['commit'][:10]}, Python {machine['python']}, "
        f"{machine['cores']:g} cores, load {machine['load']:g}"
    )
