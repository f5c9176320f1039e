"""One of the processes of ``tenure demo``: an application that registers itself.

Arguments: registry, service, id, port, heartbeat. ``TENURE_URL`` names the store. A line on stdin is new
metadata as JSON; the end of stdin, or SIGTERM, ends it cleanly.
"""

from __future__ import annotations

import json
import os
import signal
import sys

import tenure
from tenure.registry import Instance, Registry, RegistryConfig


def main(arguments: list[str]) -> int:
    """Stay registered until asked to end."""
    name, service, instance_id, port, heartbeat = arguments
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the demo's to answer
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    me = Instance(service, id=instance_id, port=int(port), meta={"version": "1"})
    config = RegistryConfig(name, heartbeat=float(heartbeat), max_retry=None)
    with tenure.connect(os.environ["TENURE_URL"]) as store, Registry(store, config, me) as registry:
        while line := sys.stdin.readline():
            registry.update(me.with_metadata(json.loads(line)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
