"""The reference of the command line, from the commands as click has them."""

from __future__ import annotations

import inspect
import re

import click

from tenure.cli.app import cli
from tenure.cli.summaries import SUMMARIES
from tenure.cli.ui import errors


def reference() -> str:
    """Return Markdown: the options of all commands, each command, and the exit codes."""
    parts = [_one(cli, "tenure", 2)]
    rows = ["## Exit codes", "", "| code | meaning |", "|---|---|"]
    rows += [f"| {code} | {_cell(meaning)} |" for code, meaning in errors.EXIT_CODES]
    return "\n\n".join([*parts, "\n".join(rows)])


def table() -> str:
    """Return Markdown: Tenure's own commands, those of groups included, with one line each."""
    rows = ["| command | what it does |", "|---|---|"]
    for name, summary in SUMMARIES.items():
        rows.append(f"| `tenure {name}` | {_cell(summary)} |")
        command = cli.get_command(click.Context(cli), name)
        if isinstance(command, click.Group):
            shown = (each for each in command.commands.values() if not each.hidden)
            rows += [f"| `tenure {name} {each.name}` | {_cell(each.get_short_help_str(100))} |" for each in shown]
    return "\n".join(rows)


def _one(command: click.Command, path: str, level: int) -> str:
    context = click.Context(command, info_name=path)
    usage = " ".join(command.collect_usage_pieces(context))
    parts = [f"{'#' * level} `{path}`", f"```text\n{path} {usage}\n```", _prose(command.help or "")]
    rows = [row for parameter in command.params if (row := _row(parameter, context)) is not None]
    if rows:
        parts.append("\n".join(["| option | meaning |", "|---|---|", *rows]))
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            if found is not None and not found.hidden:
                parts.append(_one(found, f"{path} {name}", min(level + 1, 4) if path != "tenure" else level))
    return "\n\n".join(part for part in parts if part)


def _row(parameter: click.Parameter, context: click.Context) -> str | None:
    record = parameter.get_help_record(context) if isinstance(parameter, click.Option) else None
    if record is None:
        return None
    names, meaning = record
    return f"| `{names.replace('|', chr(92) + '|')}` | {_cell(meaning)} |"


def _cell(text: str) -> str:
    return _options(re.sub(r"\s+", " ", text).replace("|", "\\|").replace("<", "&lt;"))


def _options(text: str) -> str:
    """Mark options as code, so that their dashes stay dashes."""
    return re.sub(r"(?<![\w`-])(--[a-z][\w-]*)", r"`\1`", text)


def _prose(text: str) -> str:
    """Return the help text: paragraphs as they are, those behind click's mark ``\\b`` as a block."""
    parts = []
    for part in re.split(r"\n\s*\n", inspect.cleandoc(text)):
        if part.lstrip(" ").startswith("\b"):
            lines = part.lstrip(" ").removeprefix("\b").strip("\n")
            parts.append(f"```text\n{lines}\n```")
        else:
            parts.append(_options(re.sub(r"\s+", " ", part).replace("<", "&lt;").replace("*", "\\*")))
    return "\n\n".join(parts)
