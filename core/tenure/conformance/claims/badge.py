"""Draw the badge of a claim: one small SVG that loads nothing and says level, product and version."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from tenure.conformance.claims.level import Level
from tenure.conformance.harness.verdicts import Conclusion

_COLOURS = {Level.EXTENDED: "#1a7f37", Level.CORE: "#1f6feb"}
_BROKEN, _UNCLEAR = "#cf222e", "#6e7781"
_LETTER, _PAD = 6.6, 8.0
"""Width of a letter and the space beside a text, in pixels; ``textLength`` makes every font fit."""


def badge(claimed: Mapping[str, Any]) -> str:
    """Return the SVG of a claim's badge."""
    store = claimed["store"]
    level = Level(claimed["level"])
    word = level.value if level is not Level.NONE else claimed["conclusion"].replace("_", " ")
    colour = _BROKEN if claimed["conclusion"] == Conclusion.NOT_CONFORMANT else _COLOURS.get(level, _UNCLEAR)
    left, right = "tenure conformance", f"{word}: {store['product']} {store['version']}".strip()
    catalogue = f"{left} {right}, catalogue {claimed['catalogue']}, {claimed['run']['began'][:10]}"
    first, second = _width(left), _width(right)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{first + second:g}" height="20" role="img" '
        f'aria-label="{escape(catalogue)}"><title>{escape(catalogue)}</title>'
        f'<rect width="{first:g}" height="20" fill="#444c56"/>'
        f'<rect x="{first:g}" width="{second:g}" height="20" fill="{colour}"/>'
        '<g fill="#ffffff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">'
        f"{_text(left, 0)}{_text(right, first)}</g></svg>\n"
    )


def _width(text: str) -> float:
    return round(len(text) * _LETTER + 2 * _PAD, 1)


def _text(text: str, x: float) -> str:
    length = round(_width(text) - 2 * _PAD, 1)
    return f'<text x="{x + _PAD:g}" y="14" textLength="{length:g}">{escape(text)}</text>'
