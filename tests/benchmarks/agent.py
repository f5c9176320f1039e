"""What the programs of one host cost their store: through an agent, directly, and as one program alone.

    python tests/benchmarks/agent.py URL [--programs 100] [--changes 200] [--instances 200]

The URL is that of an etcd or a Redis that nothing else uses. Each program is a registry of its own, with a store of
its own; ten of them share a process, so that the machine's memory is enough. What the store counts is read before and
after: its connections once all are in sync, and the bytes, and commands or messages, of the changes that all programs
then see. What the writer's own calls cost is taken off.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import tenure
from tenure.registry import RegistryConfig

NAME = "bench"
TOGETHER = 10
PATIENCE = 120.0
PREFIX = RegistryConfig(NAME).key_prefix

PROGRAM = """
import sys, time
import tenure
from tenure.registry import Registry, RegistryConfig
url, count = sys.argv[1], int(sys.argv[2])
stores = [tenure.connect(url, timeout=30.0) for _ in range(count)]
registries = [Registry(store, RegistryConfig("bench")).start(timeout=60.0) for store in stores]
print("ready", flush=True)
for line in sys.stdin:
    wanted = line.strip()
    for registry in registries:
        while not any(each.id == wanted for each in registry.get_services().get("last", ())):
            time.sleep(0.005)
    print("seen", flush=True)
for registry in registries:
    registry.close()
for store in stores:
    store.close()
"""


def counted(url: str) -> dict[str, float]:
    """What the server counts: connections, bytes sent, and commands or messages."""
    scheme, _, rest = url.partition("://")
    host = rest.partition("/")[0].partition("?")[0]
    if scheme == "etcd":
        with urllib.request.urlopen(f"http://{host}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        return {
            "connections": _sum(lines, "process_open_fds"),
            "watches": _sum(lines, "etcd_debugging_mvcc_watcher_total"),
            "bytes": _sum(lines, "etcd_network_client_grpc_sent_bytes_total"),
            "messages": _sum(lines, "grpc_server_msg_sent_total") + _sum(lines, "grpc_server_msg_received_total"),
        }
    if scheme == "redis":
        import redis

        name, _, port = host.partition(":")
        with redis.Redis(name, int(port or 6379)) as client:
            facts = client.info()
        return {
            "connections": facts["connected_clients"],
            "bytes": facts["total_net_output_bytes"],
            "messages": facts["total_commands_processed"],
        }
    raise SystemExit(f"{scheme}:// isn't measured here; give the URL of an etcd or a Redis")


def _sum(lines: list[str], name: str) -> float:
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))


@contextlib.contextmanager
def programs(url: str, count: int) -> Iterator[list[subprocess.Popen[str]]]:
    """So many registries, all in sync."""
    started = []
    try:
        for first in range(0, count, TOGETHER):
            few = str(min(TOGETHER, count - first))
            command = [sys.executable, "-c", PROGRAM, url, few]
            started.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        for each in started:
            assert each.stdout is not None
            assert each.stdout.readline().strip() == "ready"
        yield started
    finally:
        for each in started:
            assert each.stdin is not None
            each.stdin.close()
        for each in started:
            each.wait(PATIENCE)


def entry(number: int, service: str) -> tuple[str, bytes]:
    """A key and its value."""
    value = {"service_name": service, "id": str(number), "host": "10.0.0.1", "host_name": "h", "port": 80, "meta": {}}
    return f"{PREFIX}{service}/{number}@10.0.0.1", json.dumps(value).encode()


def run(store: tenure.Store, url: str, through: str, count: int, changes: int) -> dict[str, float]:
    """One case: what the store counts, and how long the last change took to reach everybody."""
    idle = counted(url)
    with programs(through, count) as started:
        began = counted(url)
        for number in range(changes):
            store.put(*entry(number % 50, "web"))
            time.sleep(0.005)
        last = time.monotonic()
        number = int(time.time() * 1000)
        store.put(*entry(number, "last"))
        for each in started:
            assert each.stdin is not None
            each.stdin.write(f"{number}\n")
            each.stdin.flush()
        for each in started:
            assert each.stdout is not None
            assert each.stdout.readline().strip() == "seen"
        took = time.monotonic() - last
        ended = counted(url)
    found = {name: ended[name] - began[name] for name in ended if name not in ("connections", "watches")}
    found["bytes to start"] = began["bytes"] - idle["bytes"]
    for name in ("connections", "watches"):
        if name in ended:
            found[name] = began[name] - idle[name]
    return found | {"seconds": took}


def writes_alone(store: tenure.Store, url: str, changes: int) -> dict[str, float]:
    """What the writer's own calls cost, without anybody who watches."""
    began = counted(url)
    for number in range(changes + 1):
        store.put(*entry(number % 50, "web"))
        time.sleep(0.005)
    ended = counted(url)
    return {name: ended[name] - began[name] for name in ended if name not in ("connections", "watches")}


def main() -> int:
    """Measure, and print one JSON object with the cases and the ratios."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("url")
    parser.add_argument("--programs", type=int, default=100)
    parser.add_argument("--changes", type=int, default=200)
    parser.add_argument("--instances", type=int, default=200)
    given = parser.parse_args()
    cases: dict[str, dict[str, float]] = {}
    with tenure.connect(given.url, timeout=30.0) as store, tempfile.TemporaryDirectory() as folder:
        for number in range(given.instances):
            store.put(*entry(number, "steady"))
        alone = writes_alone(store, given.url, given.changes)
        cases["one program"] = run(store, given.url, given.url, 1, given.changes)
        cases[f"{given.programs} programs"] = run(store, given.url, given.url, given.programs, given.changes)
        path = Path(folder) / "agent.sock"
        before = counted(given.url)
        command = [
            sys.executable,
            "-m",
            "tenure.cli",
            "--url",
            given.url,
            "--name",
            NAME,
            "agent",
            "--socket",
            str(path),
        ]
        with subprocess.Popen([*command, "--json"], stderr=subprocess.PIPE, text=True) as agent:
            assert agent.stderr is not None
            while json.loads(agent.stderr.readline())["type"] != "following":
                pass
            ready = counted(given.url)
            through = f"agent+unix://{path}?store={given.url.replace('&', '%26').replace('@', '%40')}"
            case = run(store, given.url, through, given.programs, given.changes)
            case["bytes to start"] += ready["bytes"] - before["bytes"]
            for name in ("connections", "watches"):
                if name in case:
                    case[name] += ready[name] - before[name]
            cases[f"{given.programs} programs, one agent"] = case
            agent.send_signal(signal.SIGTERM)
        for case in cases.values():
            for name, value in alone.items():
                case[name] -= value
        store.delete_prefix(PREFIX)
    one, many, served = cases.values()
    ratios = {
        name: {of: round(case[name] / max(one[name], 1), 2) for of, case in (("direct", many), ("agent", served))}
        for name in one
        if name != "seconds"
    }
    print(json.dumps({"cases": cases, "ratios": ratios}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
