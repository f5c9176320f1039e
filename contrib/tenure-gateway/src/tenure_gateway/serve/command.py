"""``tenure serve``: the command's options. What they ask for is imported when it runs, so that help stays quick."""

from __future__ import annotations

import re

import click

from tenure.cli.options import Settings, common, settings
from tenure_gateway.options import grace_option
from tenure_gateway.serve.address import Address

_MOST_TTL = 2**31 - 1
_ADDRESS = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<host>[^:\[\]]+)):(?P<port>\d{1,5})\Z")


def _address(_ctx: click.Context, _param: click.Parameter, value: str | None) -> Address | None:
    if value is None:
        return None
    match = _ADDRESS.match(value)
    if match is None or int(match["port"]) > 65535:
        raise click.BadParameter(f"{value!r} is not HOST:PORT, such as 127.0.0.1:8600 or [::1]:8600")
    return Address(match["six"] or match["host"], int(match["port"]))


@click.command(short_help="Answer HTTP and DNS from the registry.")
@click.option("--http", metavar="HOST:PORT", callback=_address, help="Serve Prometheus' http_sd and JSON here.")
@click.option("--dns", metavar="HOST:PORT", callback=_address, help="Serve DNS here, by UDP and TCP.")
@click.option("--domain", default="tenure", show_default=True, metavar="NAME", help="The DNS zone to answer for.")
@click.option(
    "--ttl", type=click.IntRange(0, _MOST_TTL), default=5, show_default=True, metavar="SECONDS", help="Of DNS answers."
)
@click.option(
    "--negative-ttl",
    type=click.IntRange(0, _MOST_TTL),
    default=5,
    show_default=True,
    metavar="SECONDS",
    help="Of DNS answers that there is nothing.",
)
@grace_option
@common(registry=True)
@settings
def serve(
    options: Settings,
    *,
    http: Address | None,
    dns: Address | None,
    domain: str,
    ttl: int,
    negative_ttl: int,
    grace: float,
) -> None:
    """Serve the registry to programs that aren't Python: /prometheus, /services and /health by HTTP, and a DNS zone.

    Give --http, --dns or both; port 0 chooses a free one. While the store is away, the last state is served.
    SIGTERM and Ctrl-C end it with exit code 0.
    """
    if http is None and dns is None:
        raise click.UsageError("give --http HOST:PORT, --dns HOST:PORT, or both")
    from tenure_gateway.serve.server import run
    from tenure_gateway.serve.zone import Zone, ZoneSettings, parse_domain

    zone = Zone(ZoneSettings(parse_domain(domain), ttl, negative_ttl))
    run(options, zone, http=http, dns=dns, grace=grace)
