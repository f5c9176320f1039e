"""Commands that other distributions add, found by the entry-point group ``tenure.commands``.

A distribution is imported when its command runs, or when the help page lists it. One that is broken, or that claims the
name of another command, leaves all others as they are: it is listed with the reason, and running it says what to do.
"""

from __future__ import annotations

from collections.abc import Container

import click

from tenure._plugins import discovery
from tenure._plugins.discovery import Claim
from tenure._runtime.interruption import interruption
from tenure.errors import PluginError

GROUP = "tenure.commands"
_ANYTHING = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}


def names(taken: Container[str]) -> list[str]:
    """Return the names that distributions add, sorted, without those in ``taken``, which are Tenure's own."""
    return sorted({claim.scheme for claim in discovery.claims(GROUP) if claim.scheme not in taken})


def command(name: str) -> click.Command | None:
    """Return the command that a distribution adds as ``name``; ``None`` if none does.

    If it can't be loaded, the returned command raises ``PluginError`` when it runs.
    """
    claims = [claim for claim in discovery.claims(GROUP) if claim.scheme == name]
    if not claims:
        return None
    try:
        return _load(claims)
    except PluginError as exc:
        return _broken(name, exc)


def _load(claims: list[Claim]) -> click.Command:
    name, distributions = claims[0].scheme, sorted({claim.distribution for claim in claims})
    if len(distributions) > 1:
        raise PluginError(
            f"loading the command {name!r}: several distributions add it ({', '.join(distributions)}); uninstall all "
            "but one"
        )
    from importlib import metadata

    source = f"{claims[0].module} of {claims[0].distribution} {claims[0].version}"
    try:
        loaded = metadata.EntryPoint(name, claims[0].module, GROUP).load()
    except (Exception, SystemExit) as exc:
        # A module of another distribution may raise anything while it is imported.
        if interruption(exc) is not None:
            raise
        raise PluginError(
            f"loading the command {name!r} ({source}): {type(exc).__name__}: {exc}; update or uninstall "
            f"{claims[0].distribution}"
        ) from exc
    if not isinstance(loaded, click.Command):
        raise PluginError(
            f"loading the command {name!r} ({source}): it is of type {type(loaded).__name__}, not a click.Command; "
            f"update or uninstall {claims[0].distribution}"
        )
    return loaded


def _broken(name: str, error: PluginError) -> click.Command:
    def fail() -> None:
        raise error

    # It takes any arguments, so that the reason is told rather than a complaint about them.
    return click.Command(name, callback=fail, context_settings=_ANYTHING, short_help="(broken: run it for the reason)")
