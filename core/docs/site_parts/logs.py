"""The reference of log messages, from the calls of loggers in the source."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
FOLDERS = ("core/tenure", "backends")
LEVELS = ("critical", "error", "exception", "warning", "info")
_ELSEWHERE = ("conformance", "testing", "cli")
"""Parts that no service runs."""


@dataclass(frozen=True, order=True)
class Event:
    """One call of a logger."""

    logger: str
    level: str
    message: str


def events() -> list[Event]:
    """Return what the library and its plugins log at the level INFO and above."""
    found = set()
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if not set(_ELSEWHERE) & set(path.relative_to(ROOT / folder).parts):
                found |= _of_module(ast.parse(path.read_text(encoding="utf-8")))
    return sorted(found)


def _of_module(tree: ast.Module) -> set[Event]:
    loggers = {
        target.id: node.value.args[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and node.value.args
        if getattr(node.value.func, "attr", "") == "getLogger" and isinstance(node.value.args[0], ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    found = set()
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        owner = node.func.value
        logger = loggers.get(owner.id) if isinstance(owner, ast.Name) else None
        if logger is None:
            continue
        texts = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
        message = next((text for text in texts if isinstance(text, str)), "")
        if message and node.func.attr in (*LEVELS, "log"):
            found.add(
                Event(logger, {"exception": "error", "log": "varies"}.get(node.func.attr, node.func.attr), message)
            )
    return found


def reference() -> str:
    """Return Markdown: a table of messages for each logger."""
    parts = []
    every = events()
    for logger in sorted({event.logger for event in every}):
        rows = [f"## `{logger}`", "", "| level | message |", "|---|---|"]
        mine = [event for event in every if event.logger == logger]
        rows += [f"| {event.level} | `{event.message.replace('|', chr(92) + '|')}` |" for event in mine]
        parts.append("\n".join(rows))
    return "\n\n".join(parts)
