"""Many clients of one server lose it together, and come back: how soon, at what load, and with all their leases.

    python tests/fleet/run.py                                          or: tox -e fleet
    python tests/fleet/run.py --stores redis --clients 1000 --keys 200 --compare

The servers run in containers. ``--compare`` does everything once more with clients that nothing spreads. The result is
JSON, and a line for each outage. The exit code is 1 if a lease was lost. The command ends by itself.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
import signal
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/support"))

from tenure_testkit.fleet.fleet import Size, as_json, fleet  # noqa: E402
from tenure_testkit.fleet.outages import KINDS, OUTAGES, USUAL  # noqa: E402
from tenure_testkit.servers import engine  # noqa: E402


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--stores", default=",".join(USUAL), help=f"of {', '.join(KINDS)} (default: {','.join(USUAL)})")
    parser.add_argument(
        "--outages", default=",".join(OUTAGES), help="kept, forgotten: the history, or none (default: both)"
    )
    parser.add_argument("--clients", type=int, default=200, help="clients of one server (default: 200)")
    parser.add_argument("--processes", type=int, default=4, help="processes that share them (default: 4)")
    parser.add_argument("--keys", type=int, default=1_000, help="keys that each client watches (default: 1000)")
    parser.add_argument("--bytes", type=int, default=100, help="size of a value (default: 100)")
    parser.add_argument("--down", type=float, default=8.0, help="seconds that an outage takes at least (default: 8)")
    parser.add_argument("--ttl", type=float, default=60.0, help="TTL of the leases in seconds (default: 60)")
    parser.add_argument("--limit", type=float, default=180.0, help="seconds for all to be back (default: 180)")
    parser.add_argument("--compare", action="store_true", help="once more without a spread")
    parser.add_argument("--json", type=Path, help="the file for the result (default: standard output)")
    chosen = parser.parse_args()
    stores, outages = chosen.stores.split(","), [name for name in chosen.outages.split(",") if name != "none"]
    for given, known in ((stores, KINDS), (outages, OUTAGES)):
        if unknown := sorted(set(given) - set(known)):
            parser.error(f"unknown: {unknown[0]}; choose from {', '.join(known)}")
    if (reason := engine.skip_reason()) is not None:
        parser.error(f"no servers: {reason}")
    size = Size(chosen.clients, chosen.processes, chosen.keys, chosen.bytes, chosen.down, chosen.ttl, chosen.limit)
    # A shell may have this process ignore Ctrl-C, and SIGTERM would leave containers behind.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    problems, results = [], {}
    try:
        with tempfile.TemporaryDirectory(prefix="fleet-") as folder:
            for store in stores:
                came, rest = [], []
                for spread in (True, False) if chosen.compare else (True,):
                    found = fleet(store, outages, size, spread=spread, folder=Path(folder), tell=tell)
                    rest.append(found[0])
                    came += found[1]
                problems += [f"{store}: {problem}" for one in came if one.spread for problem in one.problems]
                results[store] = {"rest": [as_json(one) for one in rest], "returns": [as_json(one) for one in came]}
    except KeyboardInterrupt:
        tell("stopped")
        return 130
    finally:
        engine.close()
    whole = {"size": dataclasses.asdict(size), "machine": platform.platform(), "stores": results}
    text = json.dumps(whole, indent=1)
    if chosen.json is None:
        print(text)
    else:
        chosen.json.write_text(text + "\n")
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


def tell(news: str) -> None:
    """One line for who watches."""
    print(news, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
