"""The option that both commands have."""

from __future__ import annotations

import click

DEFAULT_GRACE = 40.0
"""Seconds: the longest pause between attempts to register again, by default, and a heartbeat."""

grace_option = click.option(
    "--grace",
    type=click.FloatRange(min=0),
    default=DEFAULT_GRACE,
    show_default=True,
    metavar="SECONDS",
    help="After an outage, instances and keys that are gone stay so long: they may come back.",
)
"""``--grace``: see :class:`tenure_gateway.directory.Directory`."""
