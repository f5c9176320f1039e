"""The group of all commands: loads a command's module when it is needed, and turns errors into exit codes."""

from __future__ import annotations

import importlib
import keyword
import logging
import sys
from typing import Any

import click

from tenure import __version__
from tenure._suggestions import closest
from tenure.cli import added, options, summaries
from tenure.cli.groups import Group
from tenure.cli.ui import errors
from tenure.errors import TenureError

_COMMANDS = {
    "demo": "demo.command",
    "run": "commands.run",
    "register": "commands.register",
    "lock": "commands.lock",
    "elect": "commands.lock",
    "locks": "commands.locks",
    "services": "commands.services",
    "instances": "commands.services",
    "healthy": "commands.healthy",
    "watch": "commands.watch",
    "agent": "commands.agent",
    "kv": "commands.kv",
    "lease": "commands.lease",
    "backends": "commands.backends",
    "new-backend": "commands.new_backend",
    "guide": "commands.guide",
    "doctor": "commands.doctor",
    "conformance": "commands.conformance",
    "copy": "commands.copy",
    "mirror": "commands.mirror",
    "export": "commands.export",
    "import": "commands.export",
    "completion": "commands.completion",
}
"""Name of the command to the module that has it, in the order of the help page."""


class Commands(Group):
    """A group whose commands are imported on first use: Tenure's own, then those that other distributions add."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*_COMMANDS, *added.names(_COMMANDS)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = _COMMANDS.get(cmd_name)
        if module is None:
            return added.command(cmd_name)
        command = getattr(importlib.import_module(f"tenure.cli.{module}"), _attribute(cmd_name))
        assert isinstance(command, click.Command)
        return command

    def elsewhere(self, ctx: click.Context, name: str) -> str:
        nested: dict[str, str] = {}
        for group in ("kv", "lease", "locks", "agent", "conformance"):
            command = self.get_command(ctx, group)
            if isinstance(command, click.Group):
                nested |= dict.fromkeys(command.commands, group)
        found = closest(name, nested)
        return "" if found is None else f"; did you mean 'tenure {nested[found]} {found}'?"

    def invoke(self, ctx: click.Context) -> Any:
        # Commands print what matters; the library's log would repeat it.
        logging.getLogger("tenure").addHandler(logging.NullHandler())
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except TenureError as exc:
            ctx.exit(errors.report(exc, as_json=_asked_for_json(ctx)))
        except KeyboardInterrupt:
            ctx.exit(errors.INTERRUPTED)
        except OSError as exc:
            ctx.exit(errors.report_os_error(exc))
        return result

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        shown = {name: summaries.stand_in(name) or self.get_command(ctx, name) for name in self.list_commands(ctx)}
        known = {name: command for name, command in shown.items() if command is not None}
        summaries.Listed(commands=known).format_commands(ctx, formatter)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from tenure._plugins import discovery

        with formatter.section("Exit codes"):
            formatter.write_dl([(str(code), meaning) for code, meaning in errors.EXIT_CODES])
        with formatter.section("Variables"):
            formatter.write_text(
                "Every option has a variable: TENURE_URL, TENURE_PROFILE ...; for one command TENURE_COMMAND_OPTION, "
                "such as TENURE_RUN_HEARTBEAT. Order: command line, variable, profile."
            )
        schemes = sorted({claim.scheme for claim in discovery.claims()})
        with formatter.section("Stores"):
            formatter.write_text(", ".join(f"{scheme}://" for scheme in schemes) or "none is installed")
            formatter.write_text("More about them: tenure backends")


def _attribute(name: str) -> str:
    """The name of a command in its module: one that is a word of Python's has an underscore behind it."""
    attribute = name.replace("-", "_")
    return f"{attribute}_" if keyword.iskeyword(attribute) else attribute


def _asked_for_json(ctx: click.Context) -> bool:
    """Return whether ``--json`` was given, also after the name of the failed command."""
    return "--json" in ctx.meta or bool(ctx.obj and ctx.obj.json)


@click.group(
    cls=Commands,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
        "auto_envvar_prefix": "TENURE",
    },
)
@options.top
@click.version_option(__version__, message="tenure %(version)s", allow_from_autoenv=False)
def cli() -> None:
    """Register services, find them, hold locks, and manage keys and leases, on any store that a URL names.

    \b
    tenure demo                                   see it work, nothing needed
    tenure run web --port 8000 -- command ...     registered while the command runs
    tenure watch                                  services as they come and go
    tenure lock job -- command ...                one at a time, on all machines
    """
