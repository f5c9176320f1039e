"""Cancels calls and recipes of ``tenure.aio`` at random moments under faults, and judges what is left of them.

    python tests/aio/run_cancellations.py --cancels 10000     or: tox -e cancellations -- --cancels 10000
    python tests/aio/run_cancellations.py --stores redis --loop trio --acts lock,consume --seed 7

Servers run in containers, with a proxy before them. The result is JSON. The exit code is 1 if something was left, lost
or wrong, and 2 if there were fewer cancels than wanted within --minutes.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import sys
import tempfile
import uuid
from contextlib import ExitStack
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/support")]

import tenure  # noqa: E402
from tenure.conformance.network import Network  # noqa: E402
from tenure_testkit.cancellations.acts import ACTS  # noqa: E402
from tenure_testkit.cancellations.faults import Weather, memory_faults, network_faults, sqlite_faults  # noqa: E402
from tenure_testkit.cancellations.loops import LOOPS  # noqa: E402
from tenure_testkit.cancellations.trial import Found, Trial  # noqa: E402
from tenure_testkit.servers import engine  # noqa: E402
from tenure_testkit.servers.by_name import SERVERS  # noqa: E402

STORES = ("memory", "sqlite", "redis", "etcd")


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cancels", type=int, default=10_000, help="on each store (default: 10000)")
    parser.add_argument("--minutes", type=float, default=10.0, help="for each store at most (default: 10)")
    parser.add_argument("--stores", default=",".join(STORES), help="names, or URLs of servers, with commas between")
    parser.add_argument("--loop", default="asyncio", choices=LOOPS, help="what runs the tasks (default: asyncio)")
    parser.add_argument("--acts", default=",".join(ACTS), help="what tasks do, with commas between (default: all)")
    parser.add_argument("--seed", default="", help="of an earlier run, to repeat it as far as time allows")
    parser.add_argument("--json", type=Path, help="the file for the result (default: standard output)")
    options = parser.parse_args()
    acts = tuple(options.acts.split(","))
    if unknown := set(acts) - set(ACTS):
        parser.error(f"{', '.join(sorted(unknown))}: no such act; choose from {', '.join(ACTS)}")
    for store in options.stores.split(","):
        if "://" not in store and store not in ("memory", "sqlite", *SERVERS):
            parser.error(
                f"{store!r} is not known; choose from {', '.join(('memory', 'sqlite', *SERVERS))}, or give a URL"
            )
    logging.getLogger().addHandler(logging.NullHandler())  # drivers tell of each lost connection
    seed = options.seed or str(random.randrange(10**6))
    print(f"seed {seed}", file=sys.stderr, flush=True)
    found: dict[str, Found] = {}
    try:
        for store in options.stores.split(","):
            with ExitStack() as stack:
                url, weather = opened(store, seed, stack)
                found[store] = Trial(
                    url,
                    weather,
                    seed=f"{seed}/{store}",
                    loop=options.loop,
                    cancels=options.cancels,
                    seconds=options.minutes * 60,
                    acts=acts,
                    tell=partial(_tell, store),
                ).run()
    finally:
        engine.close()
    text = json.dumps(
        {"seed": seed, "loop": options.loop, "stores": {name: one.as_dict() for name, one in found.items()}}
    )
    if options.json is None:
        print(text)
    else:
        options.json.write_text(text + "\n")
    for store, one in found.items():
        print(f"{store}: {one.cancels} cancels in {one.seconds:.0f} s, {len(one.problems)} problems", file=sys.stderr)
        for problem in one.problems:
            print(f"  {problem}", file=sys.stderr)
    few = [store for store, one in found.items() if one.cancels < options.cancels]
    return 1 if any(one.problems for one in found.values()) else 2 if few else 0


def _tell(store: str, news: str) -> None:
    print(f"{store}: {news}", file=sys.stderr, flush=True)


def opened(store: str, seed: str, stack: ExitStack) -> tuple[str, Weather]:
    """Return the URL of a store, or the one before the proxy of its server, and what may happen to it."""
    name = f"cancellations-{uuid.uuid4().hex[:8]}"
    if store == "memory":
        stack.enter_context(tenure.connect(f"memory://{name}"))  # without a connection it would be gone
        return f"memory://{name}", Weather(memory_faults(name), seed)
    if store == "sqlite":
        path = Path(stack.enter_context(tempfile.TemporaryDirectory()), "store.db")
        return f"sqlite:///{path}", Weather(sqlite_faults(path), seed)
    url = store if "://" in store else stack.enter_context(SERVERS[store]()).url
    network = Network.in_front_of(f"{url.rstrip('/')}/{name}")
    assert network is not None, f"{url} names no host and port"
    stack.callback(network.close)
    ports = tuple(proxy.port for proxy in network.proxies)
    return network.url, Weather(network_faults(network), seed, ports=ports)


if __name__ == "__main__":
    sys.exit(main())
