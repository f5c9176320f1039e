"""Find this machine's address, for instances without one: no name lookup, no traffic, no dependency."""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress

_SIOCGIFADDR = 0x8915
_DOCUMENTATION_NETWORK = ("192.0.2.1", 9)


def default_host() -> str:
    """Return the IPv4 address of the first interface with one, except the loopback; otherwise the host name."""
    for address in (*_interface_addresses(), *_outgoing_address()):
        if not address.startswith("127.") and address != "0.0.0.0":  # noqa: S104 - compared with, not bound to
            return address
    return socket.gethostname()


def _interface_addresses() -> Iterator[str]:
    """Yield the addresses of the interfaces, in the system's order; none if the system offers no such call."""
    if not sys.platform.startswith("linux"):
        return
    import fcntl  # noqa: PLC0415 - not every system has it

    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            with suppress(OSError):  # an interface without an IPv4 address
                request = struct.pack("256s", name.encode()[:15])
                answer = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, request)
                yield socket.inet_ntoa(answer[20:24])


def _outgoing_address() -> Iterator[str]:
    """Yield the source address of packets to other networks; connecting a datagram socket sends no packet."""
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(_DOCUMENTATION_NETWORK)
        yield str(probe.getsockname()[0])
