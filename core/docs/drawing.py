"""Draws simple pictures as SVG, in colours for light and dark screens."""

from __future__ import annotations

from html import escape

_LIGHT = {
    "paper": "fill: #ffffff; stroke: #d0d7de",
    "text": "fill: #1f2328",
    "soft": "fill: #59636e",
    "on": "fill: #ffffff",
    "box": "fill: #f6f8fa; stroke: #818b98",
    "good": "fill: #1a7f37",
    "bad": "fill: #cf222e",
    "late": "fill: #9a6700",
    "wait": "fill: #d1d9e0",
    "line": "stroke: #59636e; fill: none",
    "cut": "stroke: #cf222e; fill: none",
    "tip": "fill: #59636e",
}
_DARK = {
    "paper": "fill: #0d1117; stroke: #3d444d",
    "text": "fill: #f0f6fc",
    "soft": "fill: #9198a1",
    "box": "fill: #151b23; stroke: #656c76",
    "good": "fill: #238636",
    "bad": "fill: #da3633",
    "late": "fill: #9e6a03",
    "wait": "fill: #3d444d",
    "line": "stroke: #9198a1",
    "cut": "stroke: #f85149",
    "tip": "fill: #9198a1",
}


def _style() -> str:
    light = "\n".join(f"    .{name} {{ {rule} }}" for name, rule in _LIGHT.items())
    dark = "\n".join(f"      .{name} {{ {rule} }}" for name, rule in _DARK.items())
    return f"\n{light}\n    @media (prefers-color-scheme: dark) {{\n{dark}\n    }}"


class Drawing:
    """Collects the elements of one picture."""

    def __init__(self, width: int, height: int, label: str) -> None:
        self._width, self._height, self._label = width, height, label
        self._parts: list[str] = []

    def box(  # noqa: PLR0917 - place and size come first, as in SVG itself
        self, x: float, y: float, w: float, h: float, lines: str, style: str = "box", *, bold: bool = False
    ) -> None:
        """A rectangle with centred lines of text; ``|`` separates lines, those after the first are small."""
        self._parts.append(
            f'<rect class="{style}" x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" rx="{min(6, w / 4):g}"/>'
        )
        rows = lines.split("|")
        light = style in ("box", "wait")
        top = y + h / 2 - (len(rows) - 1) * 8.5 + 5
        for number, row in enumerate(rows):
            kind = ("text" if number == 0 else "soft") if light else "on"
            size = 14 if number == 0 else 12
            self.text(x + w / 2, top + number * 17, row, kind, size=size, anchor="middle", bold=bold and number == 0)

    def text(
        self,
        x: float,
        y: float,
        words: str,
        style: str = "text",
        *,
        size: int = 13,
        anchor: str = "start",
        bold: bool = False,
    ) -> None:
        weight = ' font-weight="600"' if bold else ""
        self._parts.append(
            f'<text class="{style}" x="{x:g}" y="{y:g}" font-size="{size}" text-anchor="{anchor}"{weight}>'
            f"{escape(words)}</text>"
        )

    def curve(self, points: list[tuple[float, float]], style: str = "line") -> None:
        """A line through points, with a dot on each."""
        places = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self._parts.append(f'<polyline class="{style}" points="{places}" stroke-width="1.8"/>')
        for x, y in points:
            self._parts.append(f'<circle class="tip" cx="{x:.1f}" cy="{y:.1f}" r="3"/>')

    def line(self, x1: float, y1: float, x2: float, y2: float, style: str = "line", *, dashed: bool = False) -> None:
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        self._parts.append(
            f'<line class="{style}" x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke-width="1.6"{dash}/>'
        )

    def arrow(self, path: str, *, dashed: bool = False) -> None:
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        self._parts.append(f'<path class="line" d="{path}" stroke-width="1.6" marker-end="url(#tip)"{dash}/>')

    def svg(self) -> str:
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self._width} {self._height}" '
            f'width="{self._width}" height="{self._height}" font-family="system-ui, sans-serif" role="img" '
            f'aria-label="{escape(self._label)}">'
        )
        tip = (
            '  <defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" '
            'orient="auto-start-reverse"><path class="tip" d="M0 0 10 5 0 10z"/></marker></defs>'
        )
        paper = f'  <rect class="paper" x="0.5" y="0.5" width="{self._width - 1}" height="{self._height - 1}" rx="8"/>'
        body = "\n".join(f"  {part}" for part in self._parts)
        return f"{head}\n  <style>{_style()}\n  </style>\n{tip}\n{paper}\n{body}\n</svg>\n"
