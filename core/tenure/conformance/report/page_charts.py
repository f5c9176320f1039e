"""Charts as SVG, drawn without any library: timelines of rules with faults, and histograms of latencies.

Colours come from the page's style sheet, which has both themes. Many marks of one kind are one path, so a page with
thousands of operations stays small.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from tenure.conformance.report import figures
from tenure.conformance.report.markup import amount, duration, tag, text

_WIDTH, _LEFT, _RIGHT = 1000.0, 96.0, 12.0
_TOP, _LANE, _BOTTOM = 30.0, 26.0, 26.0
_MOST_BARS = 1_500

OUTCOMES = {
    "answered": "answered",
    "refused": "refused: nothing was changed",
    "unreachable": "unavailable: surely not applied",
    "unknown": "outcome unknown",
}
_OUTCOME_OF = {"Unavailable": "unreachable", "DeadlineExceeded": "unreachable", "OutcomeUnknown": "unknown"}


def effects(windows: Sequence[Mapping[str, Any]]) -> str:
    """Return the effects of the faults in one line: ``3 x cut (12 connections cut)``."""
    names = Counter(window["fault"] for window in windows)
    parts = []
    for name, number in names.items():
        mine = [window for window in windows if window["fault"] == name]
        what = next((window["what"] for window in mine if window["what"]), "effects")
        parts.append(f"{number} \u00d7 {name} ({amount(sum(window['effects'] for window in mine))} {what})")
    return ", ".join(parts)


def key() -> str:
    """Return the legend of a timeline."""
    lines = "".join(
        f'<li><svg width="26" height="12" aria-hidden="true"><path class="op {name}" d="M4 6h18"/>'
        f"{_cross(13, 6, name)}</svg> {text(meaning)}</li>"
        for name, meaning in OUTCOMES.items()
    )
    return (
        f'<ul class="key">{lines}<li><svg width="26" height="12" aria-hidden="true"><rect class="window" x="2" y="0" '
        'width="22" height="12"/></svg> a fault is in effect</li><li><svg width="26" height="12" aria-hidden="true">'
        '<path class="batch" d="M6 1v10M13 1v10"/><path class="batch resync" d="M20 1v10"/></svg> '
        "a watch delivers a batch, or resyncs</li></ul>"
    )


def timeline(rule: Mapping[str, Any]) -> str:
    """Operations in a band for each kind, watch batches below, fault windows across."""
    operations, batches, windows = rule["operations"], rule["batches"], rule["windows"]
    end = max(
        [rule["seconds"] * 0.2, *(op[1] for op in operations), *(b[0] for b in batches), *_ends(windows)], default=1.0
    )
    end = end * 1.01 or 1.0
    lanes = [name for name, _ in Counter(op[0] for op in operations).most_common()]
    lanes += ["watch"] if batches else []
    bottom = _TOP + _LANE * max(len(lanes), 1)

    def x(seconds: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * min(max(seconds, 0.0), end) / end

    parts = [_windows(windows, x, bottom, end), _axis(end, x, bottom)]
    for number, lane in enumerate(lanes):
        y = _TOP + _LANE * (number + 0.5)
        parts.append(f'<path class="rule" d="M{_LEFT:g} {y:g}H{_WIDTH - _RIGHT:g}"/>')
        parts.append(f'<text class="lane" x="{_LEFT - 10:g}" y="{y + 4:g}">{text(lane)}</text>')
        parts.append(
            _batches(batches, x, y) if lane == "watch" else _bars([o for o in operations if o[0] == lane], x, y)
        )
    title = f"<title>{text(rule['id'])}: operations over {duration(end)}, {text(effects(windows))}</title>"
    box = f"0 0 {_WIDTH:g} {bottom + _BOTTOM:g}"
    return tag("div", tag("svg", title + "".join(parts), viewBox=box, class_="chart", role="img"), class_="scroll")


def _ends(windows: Sequence[Mapping[str, Any]]) -> list[float]:
    return [window["began"] if window["ended"] is None else window["ended"] for window in windows]


def _windows(windows: Sequence[Mapping[str, Any]], x: Any, bottom: float, end: float) -> str:
    parts = []
    labelled = -1e9
    for window in windows:
        left, right = x(window["began"]), x(end if window["ended"] is None else window["ended"])
        said = f"{window['fault']}: {amount(window['effects'])} {window['what'] or 'effects'}"
        parts.append(
            f'<rect class="window" x="{left:.1f}" y="{_TOP - 6:g}" width="{max(right - left, 2):.1f}" '
            f'height="{bottom - _TOP + 6:g}"><title>{text(said)}</title></rect>'
        )
        place = min(left, _WIDTH - _RIGHT - 7 * len(window["fault"]))
        if place - labelled > 7 * len(window["fault"]) + 12:
            parts.append(f'<text class="fault" x="{place:.1f}" y="{_TOP - 12:g}">{text(window["fault"])}</text>')
            labelled = place
    return "".join(parts)


def _bars(operations: Sequence[Sequence[Any]], x: Any, y: float) -> str:
    paths: dict[str, list[str]] = {}
    crosses = []
    kept = [op for op in operations if op[3] is not None]
    kept += figures.downsampled([op for op in operations if op[3] is None], _MOST_BARS)
    for _, ended, seconds, error in kept:
        outcome = "answered" if error is None else _OUTCOME_OF.get(error, "refused")
        left, right = x(ended - seconds), x(ended)
        # Bars at one height look like one bar; three rows separate neighbours.
        height = y + (int(ended * 1e4) % 3 - 1) * 5
        paths.setdefault(outcome, []).append(f"M{left:.1f} {height:.1f}h{max(right - left, 0.01):.2f}")
        crosses.append(_cross(right, height, outcome))
    drawn = "".join(f'<path class="op {name}" d="{"".join(parts)}"/>' for name, parts in paths.items())
    return drawn + "".join(crosses)


def _cross(x: float, y: float, outcome: str) -> str:
    """The sign at the end of an operation that wasn't answered: each outcome has its own shape."""
    if outcome == "unknown":
        return f'<path class="mark unknown" d="M{x - 4:.1f} {y + 3.5:.1f}l4 -7l4 7z"/>'
    if outcome == "unreachable":
        return f'<path class="mark unreachable" d="M{x - 3:.1f} {y - 3:.1f}l6 6m-6 0l6 -6"/>'
    return ""


def _batches(batches: Sequence[Sequence[Any]], x: Any, y: float) -> str:
    plain = "".join(f"M{x(at):.1f} {y - 6:.1f}v12" for at, kind, _ in batches if kind != "resync")
    gaps = "".join(f"M{x(at):.1f} {y - 9:.1f}v18" for at, kind, _ in batches if kind == "resync")
    return f'<path class="batch" d="{plain}"/><path class="batch resync" d="{gaps}"/>'


def _axis(end: float, x: Any, bottom: float) -> str:
    step = _round_step(end / 8)
    parts = [f'<path class="axis" d="M{_LEFT:g} {bottom:g}H{_WIDTH - _RIGHT:g}"/>']
    for number in range(int(end / step) + 1):
        place = x(number * step)
        parts.append(f'<path class="axis" d="M{place:.1f} {bottom:g}v5"/>')
        parts.append(f'<text class="tick" x="{place:.1f}" y="{bottom + 18:g}">{number * step:g} s</text>')
    return "".join(parts)


def _round_step(raw: float) -> float:
    power = 10.0 ** math.floor(math.log10(max(raw, 1e-6)))
    return next((factor * power for factor in (1, 2, 5) if factor * power >= raw), 10 * power)


# -- latency --

_PLOT_WIDTH, _PLOT_HEIGHT, _PLOT_BASE, _PLOT_EDGE = 300.0, 110.0, 84.0, 22.0
_LOW, _HIGH = -6.0, 2.0
"""Decades of seconds on the axis: a microsecond to a hundred seconds."""


def latency(operation: str, seen: Mapping[str, Any]) -> str:
    """The histogram of one operation, with its median and 99th percentile."""
    buckets = seen["histogram"]
    low = max(_LOW, math.floor(math.log10(buckets[0][0]) - 0.2))
    high = min(_HIGH, max(math.ceil(math.log10(buckets[-1][0]) + 0.01), low + 2))
    most = max(count for _, count in buckets)
    width = (_PLOT_WIDTH - 2 * _PLOT_EDGE) / ((high - low) * 8)

    def x(seconds: float) -> float:
        return _PLOT_EDGE + (_PLOT_WIDTH - 2 * _PLOT_EDGE) * (math.log10(max(seconds, 1e-7)) - low) / (high - low)

    # The root keeps a single slow call visible beside thousands of quick ones.
    bars = "".join(
        f'<rect class="count" x="{x(upper) - width:.1f}" y="{_PLOT_BASE - 62 * math.sqrt(count / most):.1f}" '
        f'width="{max(width - 1, 1):.1f}" height="{62 * math.sqrt(count / most):.1f}">'
        f"<title>{amount(count)} up to {duration(upper)}</title></rect>"
        for upper, count in buckets
    )
    ticks = "".join(
        f'<path class="axis" d="M{x(10.0**decade):.1f} {_PLOT_BASE:g}v4"/>'
        f'<text class="tick" x="{x(10.0**decade):.1f}" y="{_PLOT_BASE + 17:g}">{duration(10.0**decade)}</text>'
        for decade in range(int(low), int(high) + 1)
    )
    marks = "".join(
        f'<path class="quantile" d="M{x(seen[part]):.1f} 14V{_PLOT_BASE:g}">'
        f"<title>{part}: {duration(seen[part])}</title></path>"
        for part in ("p50", "p99")
    )
    axis = f'<path class="axis" d="M{_PLOT_EDGE:g} {_PLOT_BASE:g}H{_PLOT_WIDTH - _PLOT_EDGE:g}"/>'
    said = f"{amount(seen['count'])} calls · median {duration(seen['p50'])} · 99 % {duration(seen['p99'])}"
    box = f"0 0 {_PLOT_WIDTH:g} {_PLOT_HEIGHT:g}"
    title = f"<title>{text(operation)}: {text(said)}</title>"
    svg = tag("svg", title + bars + axis + ticks + marks, viewBox=box, class_="chart", role="img")
    return (
        f"<figure><figcaption><code>{text(operation)}</code> <span class=quiet>{said}</span></figcaption>{svg}</figure>"
    )
