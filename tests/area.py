"""Runs one area of the conformance suite on one store.

    python tests/area.py kv memory://x                 or: tox -e area -- kv memory://x
    python tests/area.py leases redis -x               on a server in a container, for this run alone

What follows the store goes to pytest. Areas: those of ``tenure conformance --help``, or any part of a rule's name.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "support"))


@contextlib.contextmanager
def reachable(store: str) -> Iterator[str]:
    """The URL of the store; of one that is a name alone a server is started."""
    if "://" in store:
        yield store
        return
    from tenure_testkit.servers import engine
    from tenure_testkit.servers.by_name import SERVERS

    if store not in SERVERS:
        raise SystemExit(f"{store!r} is neither a URL nor one of {', '.join(sorted(SERVERS))}")
    reason = engine.skip_reason()
    if reason is not None:
        raise SystemExit(f"no server: {reason}")
    try:
        with SERVERS[store]() as server:
            yield server.url
    finally:
        engine.close()


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("area", help="kv, leases, watches ...")
    parser.add_argument("store", help="a URL, or the name of a store of which a server is started")
    known, rest = parser.parse_known_args()
    with reachable(known.store) as url:
        chosen = ["--pyargs", "tenure.conformance.pytest.quick", "-k", f"test_{known.area}", "--tenure-url", url]
        return int(pytest.main([*chosen, *rest]))


if __name__ == "__main__":
    sys.exit(main())
