"""The reference of log messages, from the calls of loggers in the source."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
FOLDERS = ("core/tenure", "backends")
_LEVELS = {"error": "error", "exception": "error", "warning": "warning", "info": "info", "log": "varies"}
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
    loggers = dict(found for node in ast.walk(tree) if (found := _logger(node)) is not None)
    return {event for node in ast.walk(tree) if (event := _event(node, loggers)) is not None}


def _logger(node: ast.AST) -> tuple[str, str] | None:
    """Return the name that ``node`` assigns a logger to, and the logger's name."""
    match node:
        case ast.Assign(
            targets=[ast.Name(id=name)],
            value=ast.Call(func=ast.Attribute(attr="getLogger"), args=[ast.Constant(value=str(logger))]),
        ):
            return name, logger
    return None


def _event(node: ast.AST, loggers: dict[str, str]) -> Event | None:
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=method), args=arguments) if name in loggers:
            for argument in arguments:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str) and method in _LEVELS:
                    return Event(loggers[name], _LEVELS[method], argument.value)
    return None


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
