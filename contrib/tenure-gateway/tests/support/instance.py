"""One instance as a process: STORE_URL DRAIN_WAIT. On SIGTERM it drains, waits, deregisters, and stops to listen."""

from __future__ import annotations

import signal
import sys
import time

from rolling import HttpServer

import tenure
from tenure.registry import Instance, Registry


def main(url: str, drain_wait: float) -> None:
    """Serve until SIGTERM."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    server = HttpServer()
    with tenure.connect(url) as store:
        instance = Instance("web", id=str(server.port), host="127.0.0.1", port=server.port)
        with Registry(store, instance=instance) as registry:
            print(server.port, flush=True)
            signal.sigwait({signal.SIGTERM})
            registry.drain()
            time.sleep(drain_wait)  # what a service does: it can't know when each client has seen the drain
    server.close()


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
