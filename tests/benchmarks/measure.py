"""Ratios that mean something on a noisy machine: short interleaved slices, in random order, with a control.

Each round runs a slice of the raw call, one of ours and another one of the raw call. Ours against the mean of the
two raw ones gives the ratio; the two raw ones against each other give the control (A/A), which would be 1.00
without noise. Both are medians over the rounds, with the 95 % confidence interval of the median. A target counts
as missed when the whole interval lies above it, and as not decided when the median does and the interval doesn't.
"""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

Slice = Callable[[int], float]
"""Runs so many calls and answers the seconds they took."""


@dataclass
class Result:
    """One line of the table. ``passed`` is ``None`` where there is no target, or no verdict."""

    name: str
    measured: str
    target: str = ""
    passed: bool | None = None
    undecided: bool = False
    """There is a target, and the noise was larger than the distance to it."""
    control: str = ""
    note: str = ""
    numbers: dict[str, float] = field(default_factory=dict)


def calls(call: Callable[[], object]) -> Slice:
    """A slice made of repeated calls."""

    def run(number: int) -> float:
        started = time.perf_counter()
        for _ in range(number):
            call()
        return time.perf_counter() - started

    return run


def interval(values: list[float]) -> tuple[float, float]:
    """The 95 % confidence interval of the median, from the ranks of the binomial distribution."""
    ordered = sorted(values)
    half = 0.98 * math.sqrt(len(ordered))
    middle = (len(ordered) - 1) / 2
    return ordered[max(0, math.floor(middle - half))], ordered[min(len(ordered) - 1, math.ceil(middle + half))]


def shown(values: list[float]) -> str:
    low, high = interval(values)
    return f"{statistics.median(values):.2f} ({low:.2f}-{high:.2f})"


def _time(us: float) -> str:
    return f"{us:.1f} us" if us < 10_000 else f"{us / 1000:.0f} ms"


def judge(values: list[float], target: float | None) -> bool | None:
    """Whether the median keeps the target; ``None`` without a target or where the noise doesn't let one say."""
    if target is None:
        return None
    if statistics.median(values) <= target:
        return True
    return False if interval(values)[0] > target else None


def compare(
    name: str,
    ours: Slice,
    raw: Slice,
    *,
    target: float | None,
    seconds: float,
    number: int | None = None,
    rounds: int = 8,
    note: str = "",
    processor: bool = False,
    bound: Slice | None = None,
) -> Result:
    """Ours against raw for about ``seconds`` and at least so many rounds; the target is the largest ratio allowed.

    ``number``: calls in a slice, where one call takes long and nothing is warmed up; else so many that a slice takes
    about 20 ms. ``processor``: both run in this process, so the ratio of its processor time is told beside.
    ``bound``: the least that a client does for the same guarantees and results, told as a ratio to raw, too.
    """
    if number is None:
        for warm_up in (ours, raw):
            warm_up(20)
        number = max(1, int(0.02 / (min(raw(50), ours(50)) / 50)))
    ratios: list[float] = []
    controls: list[float] = []
    raw_times: list[float] = []
    our_times: list[float] = []
    processor_ratios: list[float] = []
    bounds: list[float] = []
    until = time.monotonic() + seconds
    while time.monotonic() < until or len(ratios) < rounds:
        slices: list[tuple[str, Slice]] = [("first", raw), ("ours", ours), ("second", raw)]
        if bound is not None:
            slices.append(("bound", bound))
        random.shuffle(slices)
        took, used = {}, {}
        for label, run in slices:
            started = time.process_time()
            took[label] = run(number) / number
            used[label] = time.process_time() - started
        base = (took["first"] + took["second"]) / 2
        processor_ratios.append(2 * used["ours"] / (used["first"] + used["second"]))
        if bound is not None:
            bounds.append(took["bound"] / base)
        ratios.append(took["ours"] / base)
        controls.append(took["first"] / took["second"])
        raw_times.append(base)
        our_times.append(took["ours"])
    ratio, control, passed = statistics.median(ratios), statistics.median(controls), judge(ratios, target)
    low, high = interval(ratios)
    ours_us, raw_us = statistics.median(our_times) * 1e6, statistics.median(raw_times) * 1e6
    said = [f"{_time(ours_us)} against {_time(raw_us)}"]
    numbers = {}
    if bounds:
        numbers["bound"] = statistics.median(bounds)
        said.append(f"bound {numbers['bound']:.2f}")
    if processor:
        numbers["processor_ratio"] = statistics.median(processor_ratios)
        said.append(f"processor {numbers['processor_ratio']:.2f}")
    return Result(
        name,
        shown(ratios),
        "" if target is None else f"<= {target:.2f}",
        passed,
        target is not None and passed is None,
        shown(controls),
        "; ".join([*said, *filter(None, [note])]),
        {
            **numbers,
            "ratio": ratio,
            "low": low,
            "high": high,
            "control": control,
            "ours_us": ours_us,
            "raw_us": raw_us,
        },
    )


def difference(
    name: str, ours: Slice, raw: Slice, *, target_us: float | None, seconds: float, number: int, rounds: int = 40
) -> Result:
    """What a call of ours costs more than a raw one, in microseconds, beside the same of two raw ones (A/A)."""
    for warm_up in (ours, raw):
        warm_up(number)
    more: list[float] = []
    control: list[float] = []
    raw_times: list[float] = []
    until = time.monotonic() + seconds
    while time.monotonic() < until or len(more) < rounds:
        slices: list[tuple[str, Slice]] = [("first", raw), ("ours", ours), ("second", raw)]
        random.shuffle(slices)
        took = {label: run(number) / number * 1e6 for label, run in slices}
        base = (took["first"] + took["second"]) / 2
        more.append(took["ours"] - base)
        control.append(took["first"] - took["second"])
        raw_times.append(base)
    median, base = statistics.median(more), statistics.median(raw_times)
    passed = judge(more, target_us)
    low, high = ((base + edge) / base for edge in interval(more))
    return Result(
        name,
        f"{shown(more)} us",
        "" if target_us is None else f"<= {target_us:g} us",
        passed,
        target_us is not None and passed is None,
        f"{shown(control)} us",
        f"ratio {(base + median) / base:.2f} to {base:.1f} us",
        {
            "more_us": median,
            "control_us": statistics.median(control),
            "raw_us": base,
            "ratio": (base + median) / base,
            "low": low,
            "high": high,
        },
    )
