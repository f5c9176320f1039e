"""Options that every command takes, before or after its name, and the settings that come of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from tenure._client.store import DEFAULT_TIMEOUT
from tenure._text import visible
from tenure.cli import profiles
from tenure.cli.completion import profile_names, store_urls
from tenure.cli.groups import PROFILE
from tenure.cli.ui.output import Output
from tenure.errors import ConfigError

if TYPE_CHECKING:
    from tenure._client.opening import Opening
    from tenure._client.store import Store

F = TypeVar("F", bound=Callable[..., object])
_NAMED = "tenure.profile.named"
"""Key of a context's ``meta``: the options of a profile that was named on the command line."""
_FILE = "tenure.config"
_ASKED = "tenure.profile.asked"


@dataclass(frozen=True, slots=True)
class Settings:
    """What the common options say."""

    url: str | None = None
    json: bool = False
    timeout: float = DEFAULT_TIMEOUT
    name: str = "default"
    quiet: bool = False

    @property
    def output(self) -> Output:
        """Where results go."""
        return Output(json=self.json)

    @property
    def store_url(self) -> str:
        """The URL asked for, or the embedded store's, which is said on stderr. Raises ``ConfigError`` without any."""
        if self.url is not None:
            return self.url
        from tenure._plugins import discovery

        ways = "give --url, set TENURE_URL, or name a --profile"
        try:
            url = discovery.default_url()
        except ConfigError as exc:
            raise ConfigError(f"no store was named, and no installed plugin offers one: {ways}") from exc
        if not self.json and not self.quiet and not _quiet_command():
            click.echo(f"tenure: no store was named: this uses {url}, on this machine alone; {ways}", err=True)
        return url

    def prepare(self) -> Opening:
        """Check the URL, for a command that decides itself how long to try."""
        from tenure._client.opening import prepare

        return prepare(self.store_url, timeout=self.timeout)

    def connect(self, url: str | None = None, **more: Any) -> Store:
        """Open the store, or the one at ``url``."""
        from tenure._client.opening import connect

        return connect(self.store_url if url is None else url, timeout=self.timeout, **more)


def _quiet_command() -> bool:
    """Whether the command that runs has an option ``--quiet``, and was given it."""
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.params.get("quiet"))


def common(*, registry: bool = False, url: bool = True, profile: bool = True) -> Callable[[F], F]:
    """Decorate a command with the common options; ``registry`` adds ``--name``. ``url=False`` is for commands
    that open no store, or take URLs as arguments; ``profile=False`` for one with a ``--profile`` of its own."""

    def decorate(function: F) -> F:
        chosen = [_profile_option(_choose_late)] if url and profile else []
        for option in reversed([*chosen, *_options(registry=registry)[0 if url else 1 :]]):
            function = option(function)
        return function

    return decorate


def top(function: F) -> F:
    """Decorate the group of all commands with the common options."""
    file = click.option(
        "--config",
        metavar="FILE",
        is_eager=True,
        expose_value=False,
        callback=_choose,
        help="Configuration file with profiles. Default: ~/.config/tenure/config.toml.",
    )
    for option in reversed([*_options(registry=True), _profile_option(_choose), file]):
        function = option(function)
    return function


def _profile_option(callback: Callable[[click.Context, click.Parameter, Any], None]) -> Callable[[F], F]:
    return click.option(
        "--profile",
        metavar="NAME",
        is_eager=True,
        expose_value=False,
        callback=callback,
        shell_complete=profile_names,
        help="Take the URL and options from this profile of the configuration file.",
    )


def _options(*, registry: bool) -> list[Callable[[F], F]]:
    options = [
        _option(
            "--url",
            metavar="URL",
            shell_complete=store_urls,
            help="The store: scheme://host:port/namespace?option=value. Default: TENURE_URL (which keeps a "
            "password out of the process list), else an embedded store in your state folder.",
        ),
        _option("--json", is_flag=True, default=None, help="JSON; streaming commands print one object per line."),
        _option("--timeout", type=float, metavar="SECONDS", help=f"Timeout per call. Default: {DEFAULT_TIMEOUT:g}."),
    ]
    if registry:
        options.append(_option("--name", metavar="NAME", help="Name of the registry. Default: default."))
    return options


def _option(name: str, **settings: Any) -> Callable[[F], F]:
    return click.option(name, expose_value=False, callback=_remember, **settings)


def _remember(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    name = param.name or ""
    named = ctx.meta.get(_NAMED, {})
    if name in named and ctx.get_parameter_source(name) is ParameterSource.ENVIRONMENT:
        value = param.type_cast_value(ctx, named[name])
    if value is not None:
        ctx.obj = replace(ctx.obj or Settings(), **{name: value})
        if name == "json":
            ctx.meta["--json"] = value
    elif ctx.obj is None:
        ctx.obj = Settings()


def _choose(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    """Take ``--config`` and ``--profile`` in either order; the second one that is processed makes the choice."""
    ctx.meta[_FILE if param.name == "config" else _ASKED] = value
    if _FILE in ctx.meta and _ASKED in ctx.meta:
        chosen = _chosen(ctx, ctx.meta[_ASKED])
        if chosen is not None:
            _use(ctx, chosen, named=ctx.get_parameter_source("profile") is ParameterSource.COMMANDLINE)
            ctx.default_map = chosen.defaults


def _choose_late(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    """Take ``--profile`` behind the name of a command."""
    if value is None or ctx.get_parameter_source("profile") is not ParameterSource.COMMANDLINE:
        return
    chosen = _chosen(ctx, value)
    assert chosen is not None
    _use(ctx, chosen, named=True)
    table: Any = chosen.commands
    for name in ctx.command_path.split()[1:]:
        table = table.get(name, {}) if isinstance(table, dict) else {}
    ctx.default_map = {**chosen.common, **table}


def _chosen(ctx: click.Context, name: str | None) -> profiles.Profile | None:
    try:
        file = profiles.read(ctx.meta.get(_FILE))
        wanted = name or file.default
        return None if wanted is None else file.profile(wanted)
    except ConfigError as exc:
        raise click.UsageError(str(exc), ctx) from exc


def _use(ctx: click.Context, profile: profiles.Profile, *, named: bool) -> None:
    ctx.meta[PROFILE] = profile
    ctx.meta[_NAMED] = profile.common if named else {}
    if profiles.exposed_password(profile):
        click.echo(f"tenure: others may read the password in {visible(str(profile.path))}: chmod 600 it", err=True)


settings = click.make_pass_decorator(Settings, ensure=True)
"""Hands a command its :class:`Settings` as first argument."""
