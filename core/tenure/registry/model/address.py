"""Find this machine's address, for instances without one: no name lookup, no traffic, no dependency.

The address that the default route sends from is what other machines see. Without a default route it is the first
address of an interface that is up: not the loopback, not link-local, and not one of a bridge, a tunnel or a container
network while another interface has one. A machine with IPv6 alone gives such an address.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_SIOCGIFADDR = 0x8915
_SIOCGIFFLAGS = 0x8913
_UP = 0x1
_POINT_TO_POINT = 0x10
_RUNNING = 0x40
_DOCUMENTATION_NETWORKS = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))
_ANY_PORT = 9
_NET = Path("/sys/class/net")


def default_host() -> str:
    """Return the address that the default route sends from, or another one of this machine, or its host name."""
    for address in (*_outgoing_addresses(), *_interface_addresses()):
        if _reachable(address):
            return address
    return socket.gethostname()


def _reachable(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return not (parsed.is_loopback or parsed.is_unspecified or parsed.is_link_local)


def _outgoing_addresses() -> Iterator[str]:
    """Yield the source addresses of packets to other networks; connecting a datagram socket sends no packet."""
    for family, network in _DOCUMENTATION_NETWORKS:
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((network, _ANY_PORT))
            yield str(probe.getsockname()[0])


def _interface_addresses() -> Iterator[str]:
    """Yield the IPv4 addresses of interfaces that are up, bridges and tunnels last; none if the system can't tell."""
    if not sys.platform.startswith("linux"):
        return
    import fcntl  # noqa: PLC0415 - not every system has it

    found: list[tuple[bool, str]] = []
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            request = struct.pack("256s", os.fsencode(name)[:15])
            with suppress(OSError):  # an interface without an IPv4 address
                flags = struct.unpack_from("H", fcntl.ioctl(probe.fileno(), _SIOCGIFFLAGS, request), 16)[0]
                if flags & _UP and flags & _RUNNING:
                    address = socket.inet_ntoa(fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, request)[20:24])
                    found.append((bool(flags & _POINT_TO_POINT) or _made_by_software(name), address))
    for _, address in sorted(found, key=lambda entry: entry[0]):
        yield address


def _made_by_software(name: str) -> bool:
    """Whether the interface is a bridge or a tunnel: its address means something on this machine or in a VPN alone."""
    folder = _NET / name
    return (folder / "bridge").exists() or (folder / "tun_flags").exists()
