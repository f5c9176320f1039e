"""The reference of URL options and capabilities, from the tables that the plugins and the SPI have."""

from __future__ import annotations

from tenure._plugins import discovery, url
from tenure.spi import Guarantee, Limit, Option, field_notes

_OURS = "tenure"


def reference() -> str:
    """Return Markdown: the options of every URL, then those of each store."""
    parts = [
        "## Every URL",
        _table(url.CORE_OPTIONS),
        "## URLs with a password or a token",
        _table(url.CREDENTIAL_OPTIONS),
        "## URLs with TLS",
        _table(url.TLS_OPTIONS),
    ]
    for claim in discovery.claims():
        if claim.distribution == _OURS:
            plugin = discovery.find(claim.scheme)
            parts += [f"## `{claim.scheme}://`", plugin.summary]
            parts.append(_table(plugin.options) if plugin.options else "It has no options of its own.")
    return "\n\n".join(parts)


def _table(options: tuple[Option, ...]) -> str:
    rows = ["| option | value | default | meaning |", "|---|---|---|---|"]
    for option in options:
        default = "" if option.default is None else f"`{option.default}`"
        rows.append(f"| `{option.name}` | {_value(option)} | {default} | {option.help} |")
    return "\n".join(rows)


def _value(option: Option) -> str:
    """Return what may stand behind the option's name."""
    if option.choices:
        return ", ".join(f"`{choice}`" for choice in option.choices)
    kind = {"str": "text", "int": "whole number", "float": "number", "bool": "`yes` or `no`"}[option.type.__name__]
    low = "" if option.minimum is None else f", at least {option.minimum:,g}"
    high = "" if option.maximum is None else f", at most {option.maximum:,g}"
    return kind + low + high


def capabilities() -> str:
    """Return Markdown: a table of guarantees and a table of limits."""
    tables = {}
    for kind, head in ((True, "| guarantee | the store ... |"), (False, "| limit | meaning | unit |")):
        rows = [head, "|---" * (head.count("|") - 1) + "|"]
        for name, note in field_notes().items():
            if isinstance(note, Guarantee) == kind:
                unit = f" {note.unit} |" if isinstance(note, Limit) else ""
                rows.append(f"| `{name}` | {note.text} |{unit}")
        tables[kind] = "\n".join(rows)
    return f"## Guarantees\n\n{tables[True]}\n\n## Limits\n\n{tables[False]}"
