"""Runs one area of the conformance suite on one store.

    python tests/area.py kv memory://x                 or: tox -e area -- kv memory://x
    python tests/area.py leases redis -x               on a server in a container, for this run alone

    python tests/area.py kv.values_are_binary_safe memory://x      one rule, by its id

What follows the store goes to pytest. Areas: those of ``tenure conformance --help``, a rule's id, or how one begins.
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


def chosen(area: str) -> str:
    """The expression by which pytest chooses the rules of an area, or the rule with this id."""
    return f"test_{area.replace('.', '_')}"


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("area", help="kv, leases, watches ..., or the id of a rule")
    parser.add_argument("store", help="a URL, or the name of a store of which a server is started")
    known, rest = parser.parse_known_args()
    with reachable(known.store) as url:
        suite = ["--pyargs", "tenure.conformance.pytest.quick", "--tenure-url", url]
        return int(pytest.main([*suite, "-k", chosen(known.area), *rest]))


if __name__ == "__main__":
    sys.exit(main())
