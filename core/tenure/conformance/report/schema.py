"""Check a report against its published schema (JSON Schema 2020-12), which is shipped beside this module."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

from tenure.errors import ConfigError

_MOST = 5


@cache
def schema() -> dict[str, Any]:
    """The schema; not to be changed."""
    text = resources.files(__package__).joinpath("schema.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def problems(document: object) -> list[str]:
    """Return the contradictions between ``document`` and the schema; a few of them if there are many.

    Raises ``ConfigError`` if the library that checks isn't installed.
    """
    try:
        from jsonschema import Draft202012Validator  # noqa: PLC0415 - only who verifies needs it
    except ModuleNotFoundError as exc:
        raise ConfigError(
            f"checking a report: {exc.name} isn't installed; run: pip install 'tenure[conformance]'"
        ) from exc
    found = sorted(Draft202012Validator(schema()).iter_errors(document), key=lambda error: list(map(str, error.path)))
    told = [f"{'/'.join(map(str, error.path)) or 'the document'}: {_short(error.message)}" for error in found[:_MOST]]
    return told if len(found) <= _MOST else [*told, f"... and {len(found) - _MOST} more"]


def _short(message: str) -> str:
    return message if len(message) <= 200 else f"{message[:100]} ... {message[-90:]}"
