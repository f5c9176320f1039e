"""A group of commands that suggests what was meant, and checks what a profile says about the command that is run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click
from click.core import ParameterSource

from tenure._suggestions import closest, meant

PROFILE = "tenure.profile"
"""Key of a context's ``meta``: the profile in use."""


class Group(click.Group):
    """A group whose errors name the command that was probably meant."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        command = self.get_command(ctx, name)
        if command is not None:
            _check_profile(ctx, name, command)
        elif not ctx.resilient_parsing and not name.startswith("-"):
            known = self.list_commands(ctx)
            hint = meant(name, known) or self.elsewhere(ctx, name) or f"; 'tenure{_path(ctx)} --help' lists them"
            raise click.UsageError(f"no such command {name!r}{hint}", ctx)
        return super().resolve_command(ctx, args)

    def elsewhere(self, ctx: click.Context, name: str) -> str:
        """Return a hint at a command of another group that has this name."""
        return ""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.BadParameter as exc:
            raise _with_its_source(exc) from exc.__cause__

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.BadParameter as exc:
            raise _with_its_source(exc) from exc.__cause__


def _path(ctx: click.Context) -> str:
    names = ctx.command_path.split()[1:]
    return "".join(f" {name}" for name in names)


def _with_its_source(error: click.BadParameter) -> click.BadParameter:
    """Say where a wrong value came from, if that isn't the command line."""
    ctx, param = error.ctx, error.param
    if ctx is None or param is None or param.name is None:
        return error
    source = ctx.get_parameter_source(param.name)
    if source is ParameterSource.DEFAULT_MAP and PROFILE in ctx.meta:
        where = str(ctx.meta[PROFILE])
    elif source is ParameterSource.ENVIRONMENT:
        where = f"{ctx.auto_envvar_prefix}_{param.name.upper()}"
    else:
        return error
    return click.BadParameter(f"{error.message.rstrip('.')} (from {where})", ctx, param)


def _check_profile(ctx: click.Context, name: str, command: click.Command) -> None:
    """Refuse an entry of the profile that is no option of ``command``."""
    table = (ctx.default_map or {}).get(name)
    if PROFILE not in ctx.meta or not isinstance(table, Mapping):
        return
    options = {param.name for param in command.params if isinstance(param, click.Option) and param.name}
    groups = set(command.commands) if isinstance(command, click.Group) else set()
    for key, value in table.items():
        if key not in (groups if isinstance(value, Mapping) else options):
            shown = key.replace("_", "-")
            hint = closest(key, options | groups)
            more = (
                f"; did you mean {hint.replace('_', '-')!r}?" if hint else f"; see 'tenure{_path(ctx)} {name} --help'"
            )
            raise click.UsageError(f"{ctx.meta[PROFILE]}: {name!r} has no option {shown!r}{more}", ctx)
