"""One of the processes of ``tenure demo``: an application that registers itself.

Arguments: registry, service, id, port, heartbeat. ``TENURE_URL`` names the store. A line on stdin is new
metadata as JSON; the end of stdin, or SIGTERM, ends it cleanly.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
from collections.abc import Iterator

import tenure
from tenure.registry import Instance, Registry, RegistryConfig


def main(arguments: list[str]) -> int:
    """Stay registered until asked to end."""
    name, service, instance_id, port, heartbeat = arguments
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the demo's to answer
    # A handler that raises could do so where nothing passes it on, and one that comes just before a read begins waits
    # for its end. The interpreter writes to the pipe at once.
    ended, wake_up = os.pipe()
    os.set_blocking(wake_up, False)
    signal.set_wakeup_fd(wake_up)
    signal.signal(signal.SIGTERM, lambda *_: None)
    me = Instance(service, id=instance_id, port=int(port), meta={"version": "1"})
    config = RegistryConfig(name, heartbeat=float(heartbeat), max_retry=None)
    with tenure.connect(os.environ["TENURE_URL"]) as store, Registry(store, config, me) as registry:
        for line in _lines(sys.stdin.fileno(), ended):
            registry.update(me.with_metadata(json.loads(line)))
    return 0


def _lines(source: int, ended: int) -> Iterator[bytes]:
    """The lines that come from a file descriptor, until its end, or until ``ended`` can be read."""
    rest = b""
    while True:
        readable, _, _ = select.select([source, ended], [], [])
        if ended in readable or not (data := os.read(source, 65_536)):
            return
        *lines, rest = (rest + data).split(b"\n")
        yield from lines


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
