"""HTML in small pieces. All other text is escaped, and the words and signs of verdicts are the same everywhere."""

from __future__ import annotations

from html import escape
from importlib import resources
from typing import Any

from tenure.conformance.harness.verdicts import Conclusion, Verdict

SIGNS = {
    Verdict.PASS: ("✓", "kept"),
    Verdict.FAIL: ("✗", "broken"),
    Verdict.NOT_SUPPORTED: ("\u2013", "not supported"),
    Verdict.INCONCLUSIVE: ("!", "inconclusive"),
    Verdict.UNKNOWN: ("?", "unknown"),
}
"""Sign and word of each verdict; with the colour a third way to tell them apart."""

BANNERS = {
    Conclusion.CONFORMANT: (
        "✓",
        "Conformant",
        "The store kept every rule, or declared beforehand that it doesn't support it.",
    ),
    Conclusion.PARTIAL: (
        "✓",
        "Kept, in part",
        "The store kept every rule that ran; only a part of the catalogue was selected.",
    ),
    Conclusion.NOT_CONFORMANT: ("✗", "Not conformant", "The store broke at least one guarantee."),
    Conclusion.INCONCLUSIVE: ("!", "Inconclusive", "A rule wasn't tried, or showed nothing."),
    Conclusion.UNKNOWN: ("?", "Unknown", "Time ran out before every rule had a verdict."),
}

_CSP = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"


def text(value: object) -> str:
    """Return ``value`` as text that is safe everywhere, also in an attribute."""
    return escape(str(value), quote=True)


def tag(name: str, content: str, **attributes: object) -> str:
    """An element around ``content``, which is HTML; attributes are escaped, and ``class_`` is ``class``."""
    parts = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{parts}>{content}</{name}>"


def table(head: list[str], rows: list[list[str]], **attributes: object) -> str:
    """A table whose cells are HTML."""
    top = "".join(tag("th", text(cell), scope="col") for cell in head)
    body = "".join(tag("tr", "".join(tag("td", cell) for cell in row)) for row in rows)
    return tag(
        "div", tag("table", f"<thead><tr>{top}</tr></thead><tbody>{body}</tbody>", **attributes), class_="scroll"
    )


def sign(verdict: str) -> str:
    """Return the verdict's sign in its colour, with its word for screen readers."""
    mark, word = SIGNS[Verdict(verdict)]
    return tag("span", mark, class_=f"sign {verdict}", role="img", aria_label=word)


def badge(verdict: str) -> str:
    """Sign and word."""
    mark, word = SIGNS[Verdict(verdict)]
    return tag("span", f"{mark} {word}", class_=f"badge {verdict}")


def duration(seconds: float) -> str:
    """For people: ``3 µs``, ``0.4 ms``, ``12 ms``, ``1.2 s``, ``4 min 5 s``."""
    if seconds < 0.00095:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 0.0995:
        return f"{seconds * 1e3:.2g} ms"
    if seconds < 1:
        return f"{seconds * 1e3:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"


def amount(value: Any) -> str:
    """A number for people: whole ones with separators."""
    return f"{value:,}" if isinstance(value, int) or (float(value).is_integer() and abs(value) < 1e15) else f"{value:g}"


def whole_page(title: str, body: str) -> str:
    """Return one self-contained document, which loads nothing."""
    here = resources.files(__package__)
    style = here.joinpath("page.css").read_text(encoding="utf-8")
    script = here.joinpath("page.js").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_CSP}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{text(title)}</title><style>{style}</style></head>\n<body>{body}\n<script>{script}</script></body></html>\n"
    )
