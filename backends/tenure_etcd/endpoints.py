"""From the URL's hosts to the one target text that a gRPC channel takes for several servers.

gRPC accepts a list of endpoints only as literal addresses of one family. Names are resolved here, in a thread
that can be given up on, since the system's resolver knows no deadline. Where both families are needed, IPv4
addresses are written in their IPv6 form.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Sequence

from tenure.errors import Unavailable
from tenure.spi.plugin import Host


def describe(hosts: Sequence[Host]) -> str:
    """The hosts as messages name them."""
    return ", ".join(str(host) for host in hosts)


def target(hosts: Sequence[Host], *, timeout: float) -> str:
    """gRPC's target for all addresses of all hosts.

    Names that can't be resolved are left out as long as any host is left. Raises ``Unavailable`` if none is,
    also when the resolver takes longer than ``timeout`` seconds.
    """
    addresses: dict[tuple[str, int], None] = {}
    failures: list[str] = []
    unresolved: list[Host] = []
    for host in hosts:
        if _is_literal(host.name):
            addresses[host.name, host.port] = None
        else:
            unresolved.append(host)
    if unresolved:
        for host, found in _resolve(unresolved, timeout=timeout).items():
            if isinstance(found, str):
                failures.append(f"{host.name} ({found})")
            else:
                addresses.update(dict.fromkeys((address, host.port) for address in found))
    if not addresses:
        raise Unavailable(f"can't find the address of {', '.join(failures)}: check the host names in the URL")
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


def _resolve(hosts: Sequence[Host], *, timeout: float) -> dict[Host, list[str] | str]:
    """Addresses of each host, or why there are none."""
    answers: dict[Host, list[str] | str] = {}

    def ask() -> None:
        for host in hosts:
            try:
                answers[host] = _look_up(host)
            except (OSError, UnicodeError) as exc:
                answers[host] = str(exc)

    thread = threading.Thread(target=ask, name="etcd-resolve", daemon=True)
    thread.start()
    thread.join(timeout)
    return {host: answers.get(host, f"no answer from the resolver within {timeout:.3g} s") for host in hosts}


def _look_up(host: Host) -> list[str]:
    """All addresses of one host, as the system's resolver orders them."""
    found = socket.getaddrinfo(host.name, host.port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))
