"""Starts the server of one store in a container, prints its URL, and removes it at Ctrl-C.

    python tests/serve.py etcd            or: tox -e server -- etcd

Give the URL to tests (``TENURE_ETCD_URL=...``) or to ``tests/area.py``: they then start in no time.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "support"))

from tenure_testkit.servers import engine
from tenure_testkit.servers.by_name import SERVERS


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("store", choices=sorted(SERVERS))
    store = parser.parse_args().store
    reason = engine.skip_reason()
    if reason is not None:
        print(f"no server: {reason}", file=sys.stderr)
        return 1
    # A shell may have this process ignore Ctrl-C, and SIGTERM would leave the container behind.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with SERVERS[store]() as server:
            print(f"TENURE_{store.upper()}_URL={server.url}", flush=True)
            print("Ctrl-C removes it.", file=sys.stderr, flush=True)
            signal.pause()
    except KeyboardInterrupt:
        return 0
    finally:
        engine.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
