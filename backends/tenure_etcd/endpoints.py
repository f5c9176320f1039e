"""From the URL's hosts to the one target text that a gRPC channel takes for several servers.

gRPC accepts a list of endpoints only as literal addresses of one family, so names are resolved here. Where both
families are needed, IPv4 addresses are written in their IPv6 form.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from tenure.errors import Unavailable
from tenure.plugin_kit import Deadline, Resolver
from tenure.spi.plugin import Host


def describe(hosts: Sequence[Host]) -> str:
    """The hosts as messages name them."""
    return ", ".join(str(host) for host in hosts)


def target(hosts: Sequence[Host], resolver: Resolver, deadline: Deadline) -> str:
    """gRPC's target for all addresses of all hosts.

    A name that can't be resolved, or takes longer than its share of the time, is left out as long as another host is
    found. Raises ``Unavailable`` if none is.
    """
    addresses: dict[tuple[str, int], None] = {}
    failures: list[str] = []
    for position, host in enumerate(hosts):
        share = Deadline(deadline.remaining() / (len(hosts) - position))
        try:
            addresses.update(dict.fromkeys((found.text, host.port) for found in resolver.addresses(host, share)))
        except Unavailable as exc:
            failures.append(str(exc))
    if not addresses:
        raise Unavailable(f"connecting to etcd: {'; '.join(failures)}")
    if all(":" not in address for address, _ in addresses):
        return "ipv4:" + ",".join(f"{address}:{port}" for address, port in addresses)
    return "ipv6:" + ",".join(f"[{_as_ipv6(address)}]:{port}" for address, port in addresses)


def may_move(hosts: Sequence[Host]) -> bool:
    """Whether any host is a name, which may stand for another address later."""
    return not all(_is_literal(host.name) for host in hosts)


def is_loopback(host: Host) -> bool:
    """Whether the host is this machine by its very name."""
    return ipaddress.ip_address(host.name).is_loopback if _is_literal(host.name) else host.name == "localhost"


def _is_literal(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _as_ipv6(address: str) -> str:
    return address if ":" in address else f"::ffff:{address}"
