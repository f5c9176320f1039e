"""Ports on 127.0.0.1 for servers that go down and come back on the same one.

They are taken from below the kernel's range for outgoing connections. Inside that range two things go wrong while
the server is down: some other connection may be given its port, and a client that keeps reconnecting may be given
the very port it connects to, whereupon TCP connects it to itself and the outage seems to be over.
"""

import random
import socket
from pathlib import Path

_LOWEST = 20_000
_DEFAULT_EPHEMERAL_START = 32_768
_tries = random.SystemRandom()
_given: set[int] = set()


def _ephemeral_start() -> int:
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return _DEFAULT_EPHEMERAL_START


def free_port() -> int:
    """A port that is free now, that no earlier call in this process gave, and that no outgoing connection takes."""
    highest = max(_ephemeral_start(), _LOWEST + 2_000) - 1
    for _ in range(1_000):
        port = _tries.randint(_LOWEST, highest)
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port
    raise RuntimeError(f"no free port between {_LOWEST} and {highest} on 127.0.0.1")
