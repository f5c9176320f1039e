"""The reference of the hooks, from the specifications in ``tenure.hookspecs``."""

from __future__ import annotations

import inspect
import re

from tenure import hookspecs


def reference() -> str:
    """Return Markdown: a section for each hook with its parameters and its docstring."""
    parts = []
    for name, hook in vars(hookspecs).items():
        if not name.startswith("tenure_"):
            continue
        parameters = ", ".join(inspect.signature(hook).parameters)
        text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", inspect.getdoc(hook) or "").replace("``", "`")
        prose, _, arguments = text.partition("\nArgs:\n")
        arguments, _, result = arguments.partition("\nReturns:\n")
        prose, _, alone = prose.partition("\nReturns:\n")
        items = re.findall(r"^ {4}(\w+): (.+(?:\n {5,}.+)*)", arguments, re.MULTILINE)
        lines = [f"- `{argument}`: {' '.join(meaning.split())}" for argument, meaning in items]
        result = " ".join((result or alone).split())
        parts.append(f"## `{name}`\n\n```text\n{name}({parameters})\n```\n\n{prose.strip()}")
        if lines:
            parts.append("\n".join(lines))
        if result:
            parts.append(f"Returns: {result}")
    return "\n\n".join(parts)
