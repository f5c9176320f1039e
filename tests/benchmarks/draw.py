"""Draws the records as one page without scripts: ``python tests/benchmarks/draw.py`` writes ``results/index.html``.

Each benchmark that has a ratio is a line over the commits, with the interval as a band and 1.0, the raw client, as a
rule. Growth is drawn on two logarithmic scales, where the exponent is the slope: the last record in front of the first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

from record import FOLDER, Record, load

WIDTH, HEIGHT, EDGE = 300, 120, 24
_Point = tuple[float, float]


def page(records: Sequence[Record]) -> str:
    """The page of all records, the oldest first."""
    names = sorted({name for record in records for name in record.numbers})
    ratios = [_over_commits(name, records) for name in names if any("ratio" in _of(r, name) for r in records)]
    growth = [_growth(name, records) for name in names if any("exponent" in _of(r, name) for r in records)]
    rows = "".join(
        f"<tr><td>{escape(r.at[:10])}<td><code>{escape(r.commit[:10])}</code><td>{escape(r.subject)}"
        f"<td>{escape(str(r.machine['python']))}<td>{r.machine['loop_ms']} ms<td>{r.machine['load']}</tr>"
        for r in records
    )
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Benchmarks of Tenure over commits</title>
<style>
body {{ font: 14px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 1000px; color: #222; background: #fff }}
figure {{ display: inline-block; margin: 0 1em 1em 0 }} figcaption {{ width: {WIDTH}px }}
table {{ border-collapse: collapse }} td, th {{ padding: 2px 10px 2px 0; text-align: left }}
.band {{ fill: #4472c4; opacity: .2 }} .line {{ fill: none; stroke: #4472c4; stroke-width: 2 }}
.first {{ fill: none; stroke: #999; stroke-width: 1.5; stroke-dasharray: 4 3 }} .dot {{ fill: #4472c4 }}
.rule {{ stroke: #bbb; stroke-dasharray: 2 3 }} text {{ font-size: 10px; fill: #555 }}
</style>
<h1>Benchmarks of Tenure over commits</h1>
<p>Times of Tenure divided by those of the raw client, measured by turns: below 1 Tenure is faster. The band is the 95 %
confidence interval of the median.</p>
{"".join(ratios)}
<h2>Growth</h2>
<p>Times against numbers of keys, both logarithmic: the slope is the exponent. Solid: the last record; dashed: the
first.</p>
{"".join(growth)}
<h2>Records</h2>
<table><tr><th>day<th>commit<th>subject<th>Python<th>fixed loop<th>load</tr>{rows}</table>
</html>
"""


def _of(record: Record, name: str) -> dict[str, float]:
    return record.numbers.get(name, {})


def _over_commits(name: str, records: Sequence[Record]) -> str:
    found = [(position, _of(record, name)) for position, record in enumerate(records) if "ratio" in _of(record, name)]
    top = max(1.5, *(numbers.get("high", numbers["ratio"]) for _, numbers in found))
    x, y = _scale(0, max(1, len(records) - 1)), _scale(0, top, flipped=True)
    line = [(x(at), y(numbers["ratio"])) for at, numbers in found]
    high = [(x(at), y(numbers.get("high", numbers["ratio"]))) for at, numbers in found]
    low = [(x(at), y(numbers.get("low", numbers["ratio"]))) for at, numbers in found]
    drawn = (
        f'<line class="rule" x1="{EDGE}" x2="{WIDTH}" y1="{y(1):.1f}" y2="{y(1):.1f}"/>'
        f'<text x="2" y="{y(1) + 3:.1f}">1.0</text><polygon class="band" points="{_points([*high, *reversed(low)])}"/>'
        f'<polyline class="line" points="{_points(line)}"/>{_dots(line)}'
    )
    return _figure(drawn, f"{name}: {found[-1][1]['ratio']:.2f}")


def _growth(name: str, records: Sequence[Record]) -> str:
    found = [_of(record, name) for record in records if "exponent" in _of(record, name)]
    curves = [sorted((float(key), value) for key, value in one.items() if key.isdigit()) for one in found]
    sizes = [size for curve in curves for size, _ in curve]
    times = [seconds for curve in curves for _, seconds in curve]
    x = _scale(math.log10(min(sizes)), math.log10(max(sizes)))
    y = _scale(math.log10(min(times)) - 0.2, math.log10(max(times)) + 0.2, flipped=True)
    first, last = ([(x(math.log10(size)), y(math.log10(took))) for size, took in curves[at]] for at in (0, -1))
    labels = "".join(
        f'<text x="{at[0] - 20:.1f}" y="{at[1] - 6:.1f}">{took * 1e3:.3g} ms</text>'
        for at, (_, took) in zip(last, curves[-1], strict=True)
    )
    dashed = f'<polyline class="first" points="{_points(first)}"/>' if len(curves) > 1 else ""
    drawn = f'{dashed}<polyline class="line" points="{_points(last)}"/>{_dots(last)}{labels}'
    return _figure(drawn, f"{name}: exponent {found[-1]['exponent']:.2f}")


def _scale(low: float, high: float, *, flipped: bool = False) -> Callable[[float], float]:
    room = (HEIGHT if flipped else WIDTH) - 2 * EDGE

    def place(value: float) -> float:
        part = (value - low) / (high - low) if high > low else 0.5
        return EDGE + room * (1 - part if flipped else part)

    return place


def _points(points: Sequence[_Point]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _dots(points: Sequence[_Point]) -> str:
    return "".join(f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in points)


def _figure(drawn: str, caption: str) -> str:
    return (
        f'<figure><svg width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="{escape(caption)}">{drawn}</svg>'
        f"<figcaption>{escape(caption)}</figcaption></figure>\n"
    )


if __name__ == "__main__":
    (FOLDER / "index.html").write_text(page(load()))
    print(f"wrote {FOLDER / 'index.html'}")
