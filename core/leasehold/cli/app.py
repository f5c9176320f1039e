"""The group of all commands: loads a command's module when it is needed, and turns errors into exit codes."""

from __future__ import annotations

import importlib
import logging
import sys
from typing import Any

import click

from leasehold import __version__
from leasehold.cli import errors, options
from leasehold.errors import LeaseholdError

_COMMANDS = {
    "demo": "demo",
    "run": "run",
    "register": "register",
    "services": "services",
    "instances": "services",
    "watch": "watch",
    "kv": "kv",
    "lease": "lease",
    "backends": "backends",
    "new-backend": "new_backend",
    "doctor": "doctor",
    "conformance": "conformance",
    "copy": "copy",
    "mirror": "mirror",
}
"""Name of the command to the module that has it, in the order of the help page."""


class Commands(click.Group):
    """A group whose commands are imported on first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = _COMMANDS.get(cmd_name)
        if module is None:
            return None
        command = getattr(importlib.import_module(f"leasehold.cli.{module}"), cmd_name.replace("-", "_"))
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        # Commands tell what matters in their own words; the library's log would say it twice.
        logging.getLogger("leasehold").addHandler(logging.NullHandler())
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except LeaseholdError as exc:
            ctx.exit(errors.report(exc, as_json=_asked_for_json(ctx)))
        except KeyboardInterrupt:
            ctx.exit(errors.INTERRUPTED)
        except OSError as exc:
            ctx.exit(errors.report_os_error(exc))
        return result

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from leasehold import plugins

        with formatter.section("Exit codes"):
            formatter.write_dl([(str(code), meaning) for code, meaning in errors.EXIT_CODES])
        schemes = sorted({claim.scheme for claim in plugins.claims()})
        with formatter.section("Stores"):
            formatter.write_text(", ".join(f"{scheme}://" for scheme in schemes) or "none is installed")
            formatter.write_text("More about them: leasehold backends")


def _asked_for_json(ctx: click.Context) -> bool:
    """Whether ``--json`` was given, also where it came after the name of the command that failed."""
    return "--json" in ctx.meta or bool(ctx.obj and ctx.obj.json)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@options.top
@click.version_option(__version__, message="leasehold %(version)s")
def cli() -> None:
    """Register services, find them, and look after keys and leases, on whatever store a URL names.

    \b
    leasehold demo                                   see it work, nothing needed
    leasehold run web --port 8000 -- command ...     registered while the command runs
    leasehold watch                                  services as they come and go
    """
