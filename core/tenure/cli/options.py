"""Options that every command takes, before or after its name, and the settings that come of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tenure._client.store import DEFAULT_TIMEOUT
from tenure.cli.ui.output import Output

if TYPE_CHECKING:
    from tenure._client.opening import Opening
    from tenure._client.store import Store

F = TypeVar("F", bound=Callable[..., object])


@dataclass(frozen=True, slots=True)
class Settings:
    """What the common options say."""

    url: str | None = None
    json: bool = False
    timeout: float = DEFAULT_TIMEOUT
    name: str = "default"

    @property
    def output(self) -> Output:
        """Where results go."""
        return Output(json=self.json)

    @property
    def store_url(self) -> str:
        """The URL asked for, or the embedded store's. Raises ``ConfigError`` where there is neither."""
        from tenure._plugins import discovery

        return self.url if self.url is not None else discovery.default_url()

    def prepare(self) -> Opening:
        """Check the URL, for a command that decides itself how long to try."""
        from tenure._client.opening import prepare

        return prepare(self.store_url, timeout=self.timeout)

    def connect(self, url: str | None = None, **more: Any) -> Store:
        """Open the store, or the one at ``url``."""
        from tenure._client.opening import connect

        return connect(self.store_url if url is None else url, timeout=self.timeout, **more)


def common(*, registry: bool = False, url: bool = True) -> Callable[[F], F]:
    """Decorate a command with the common options; ``registry`` adds ``--name``. ``url=False`` is for commands
    that open no store, or take URLs as arguments."""

    def decorate(function: F) -> F:
        for option in reversed(_options(top=False, registry=registry)[0 if url else 1 :]):
            function = option(function)
        return function

    return decorate


def top(function: F) -> F:
    """Decorate the group of all commands with the common options."""
    for option in reversed(_options(top=True, registry=True)):
        function = option(function)
    return function


def _options(*, top: bool, registry: bool) -> list[Callable[[F], F]]:
    options = [
        _option(
            "--url",
            metavar="URL",
            envvar="TENURE_URL" if top else None,
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
    if value is not None and param.name is not None:
        ctx.obj = replace(ctx.obj or Settings(), **{param.name: value})
        if param.name == "json":
            ctx.meta["--json"] = value
    elif ctx.obj is None:
        ctx.obj = Settings()


settings = click.make_pass_decorator(Settings, ensure=True)
"""Hands a command its :class:`Settings` as first argument."""
