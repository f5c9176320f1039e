"""``tenure top``: what goes on in a store, at a terminal."""

from __future__ import annotations

import importlib.util
import sys

import click

from tenure.cli.options import Settings, common, settings
from tenure.errors import ConfigError


@click.command(short_help="Show what happens in the store, at this terminal.")
@common()
@settings
def top(options: Settings) -> None:
    """Show services and instances, locks, leases, keys and changes, as they are from moment to moment.

    \b
    1 to 5    the views           /    filter rows
    Enter     instances of a service; Escape goes back
    v         show values, which are hidden otherwise
    q         quit

    It only reads.
    """
    if importlib.util.find_spec("textual") is None:
        raise ConfigError(
            f"showing the store: textual is not installed in {sys.prefix}; pip install 'tenure-console[top]'"
        )
    if not all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)):
        raise click.UsageError("input or output is no terminal; use 'tenure watch' or 'tenure kv watch' there")
    from tenure_console.terminal.app import Top

    with options.connect() as store:
        Top(store).run()
