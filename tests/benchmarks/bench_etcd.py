"""etcd against raw stub calls on a channel of the same kind, and against etcd3 as it ships.

etcd3 as it ships needs protobuf 3.20, so it runs in a virtual environment of its own, made on first use and kept in
the user's cache folder.
"""

from __future__ import annotations

import contextlib
import os
import queue
import statistics
import subprocess
import sys
import threading
import time
import venv
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from measure import Result, Slice, calls, compare, judge, shown
from server import KEY, MANY_ROOT, VALUE, ManyTargets, Targets, compare_calls, compare_many, with_server

import tenure
from tenure.spi import Host

TARGETS = Targets(get=1.05, put=1.05, replace=1.05)
NOTE = "a worker calls for the main thread, as an interrupt there would leave gRPC's locks held"
MANY_TARGETS = ManyTargets(listed=1.3)
MANY_NOTES = {"listed": "the raw answer stays protobuf's, the bound makes plain tuples of it"}
TARGET_SHIPPED = 1.00
TARGET_WATCH = 1.30
PINS = ["etcd3==0.12.0", "protobuf==3.20.3", "grpcio>=1.62,<2", "tenacity==6.3.1"]
"""Its lock does not work with a newer tenacity."""
METADATA = (("hasleader", "true"),)


def run(quick: bool) -> Iterator[Result]:
    def measure(store: tenure.Store, stack: contextlib.ExitStack) -> Iterator[Result]:
        backend: Any = store._backend
        host = next(iter(backend._connection.hosts))
        raw = Raw(host)
        stack.callback(raw.close)
        same = Same(raw, store._prefix)
        notes = dict.fromkeys(("get", "put", "compare-and-set"), NOTE)
        yield from compare_calls("etcd", store, same, TARGETS, seconds=1.2 if quick else 9.0, notes=notes)
        yield _watch(store, raw, 150 if quick else 1500)
        shipped = Shipped(host)
        stack.callback(shipped.close)
        if shipped.missing:
            yield Result("etcd3 as it ships", "NOT MEASURED", note=shipped.missing)
        else:
            yield from _against_shipped(store, shipped, 1.2 if quick else 5.0)
        yield from compare_many(
            "etcd", store, same, quick=quick, targets=MANY_TARGETS, notes=MANY_NOTES, list_bound=same.list_of_tuples
        )

    yield from with_server("etcd", container, measure)


def container() -> AbstractContextManager[Any]:
    from tenure_testkit.servers import EtcdServer

    return EtcdServer()


class Raw:
    """The stubs themselves, on a channel made as the plugin makes its own."""

    def __init__(self, host: Host) -> None:
        from tenure_etcd.client import open_client
        from tenure_etcd.messages import MESSAGES, bind
        from tenure_etcd.plugin import tenure_backend

        options = {option.name: option.default for option in tenure_backend().options}
        self._client = open_client(f"ipv4:{host}", hosts=(host,), tls=None, options=options)
        self.messages = MESSAGES
        stubs = bind(self._client.channel, "KV")
        self._range, self._put, self._txn = stubs["Range"], stubs["Put"], stubs["Txn"]
        self._watch = bind(self._client.channel, "Watch")["Watch"]

    def get(self, key: bytes) -> Any:
        request = self.messages["RangeRequest"](key=key)
        return self._range(request, timeout=5.0, metadata=METADATA).kvs[0].value

    def put(self, key: bytes) -> int:
        request = self.messages["PutRequest"](key=key, value=VALUE)
        return int(self._put(request, timeout=5.0, metadata=METADATA).header.revision)

    def replace(self, key: bytes, revision: int) -> int:
        compare_, operation = self.messages["Compare"], self.messages["RequestOp"]
        request = self.messages["TxnRequest"](
            compare=[compare_(result=compare_.EQUAL, target=compare_.MOD, key=key, mod_revision=revision)],
            success=[operation(request_put=self.messages["PutRequest"](key=key, value=VALUE))],
        )
        answer = self._txn(request, timeout=5.0, metadata=METADATA)
        assert answer.succeeded
        return int(answer.header.revision)

    def list(self, prefix: bytes) -> Any:
        request = self.messages["RangeRequest"](key=prefix, range_end=_end(prefix))
        return self._range(request, timeout=5.0, metadata=METADATA).kvs

    def begin_watch(self, key: bytes, range_end: bytes = b"") -> Any:
        """The stream of answers, after the first one, which says that the watch is there."""
        requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        create = self.messages["WatchCreateRequest"](key=key, range_end=range_end)
        requests.put(self.messages["WatchRequest"](create_request=create))
        answers = self._watch(iter(requests.get, None), metadata=METADATA)
        answers.add_done_callback(lambda _: requests.put(None))
        assert next(answers).created
        return answers

    def watch(self, key: bytes, seen: Any) -> None:
        """Calls ``seen(time)`` for each event of ``key``, on the thread that reads the stream."""
        answers = self.begin_watch(key)

        def read() -> None:
            with contextlib.suppress(Exception):  # ends when the channel is closed
                for answer in answers:
                    for _ in answer.events:
                        seen(time.perf_counter())

        threading.Thread(target=read, daemon=True).start()

    def close(self) -> None:
        self._client.close()


def _end(prefix: bytes) -> bytes:
    return prefix[:-1] + bytes([prefix[-1] + 1])


class Same:
    """The stubs on the keys that the measurement is about."""

    def __init__(self, raw: Raw, prefix: str) -> None:
        self._raw = raw
        self._key = (prefix + KEY).encode()
        self._own = self._key + b"-raw"
        self._many = (prefix + MANY_ROOT).encode()
        self._revision = 0

    def get(self) -> object:
        return self._raw.get(self._key)

    def put(self) -> object:
        self._revision = self._raw.put(self._own)
        return self._revision

    def replace(self) -> object:
        self._revision = self._raw.replace(self._own, self._revision)
        return self._revision

    def list(self) -> int:
        return len(self._raw.list(self._many))

    def list_of_tuples(self) -> int:
        found = self._raw.list(self._many)
        return len([(kv.key.decode(), kv.value, kv.create_revision, kv.mod_revision, kv.lease) for kv in found])

    def watch(self) -> int:
        answers = self._raw.begin_watch(self._many, _end(self._many))
        found = self.list()
        answers.cancel()
        return found


def _watch(store: tenure.Store, raw: Raw, puts: int) -> Result:
    """Time from just before a put is sent until the callback runs; both watches get puts of the same kind in turn."""
    arrived: queue.SimpleQueue[float] = queue.SimpleQueue()
    in_sync = threading.Event()

    def callback(batch: tenure.Batch) -> None:
        now = time.perf_counter()
        if batch.type is tenure.BatchType.CHANGES:
            arrived.put(now)
        elif batch.type is tenure.BatchType.SYNCED:
            in_sync.set()

    keys = {"ours": b"benchmark/watch/ours", "raw": b"benchmark/watch/raw", "control": b"benchmark/watch/control"}
    with store.watch("benchmark/watch/ours", callback=callback):
        assert in_sync.wait(60.0)
        raw.watch(keys["raw"], arrived.put)
        raw.watch(keys["control"], arrived.put)
        times: dict[str, list[float]] = {label: [] for label in keys}
        for _ in range(puts):
            for label, key in keys.items():
                started = time.perf_counter()
                raw.put(key)
                times[label].append(arrived.get(timeout=10) - started)
    ours, base, control = (statistics.median(times[label]) for label in ("ours", "raw", "control"))
    blocks = [slice(start, start + 25) for start in range(0, puts, 25)]
    p50 = {label: [statistics.median(values[block]) for block in blocks] for label, values in times.items()}
    ratios = [
        mine * 2 / (first + second) for mine, first, second in zip(p50["ours"], p50["raw"], p50["control"], strict=True)
    ]
    ratio = statistics.median(ratios)
    return Result(
        "etcd watch, put to callback (p50)",
        shown(ratios),
        f"<= {TARGET_WATCH:.2f}",
        judge(ratios, TARGET_WATCH),
        judge(ratios, TARGET_WATCH) is None,
        f"{base / control:.2f}",
        f"{ours * 1e6:.0f} us against {base * 1e6:.0f} us",
        {"ratio": ratio, "control": base / control, "ours_us": ours * 1e6, "raw_us": base * 1e6},
    )


def shipped_python() -> Path:
    """The interpreter of the environment with etcd3 as it ships; the first call makes it."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tenure-benchmarks"
    folder = home / f"etcd3-0.12.0-tenacity-6-py{sys.version_info.major}.{sys.version_info.minor}"
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        print("(making a virtual environment for etcd3 as it ships, once)", file=sys.stderr, flush=True)
        venv.create(folder, clear=True, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *PINS], check=True, timeout=180)
        (folder / "complete").touch()
    return python


class Shipped:
    """etcd3 on its own protobuf, in a process of its own that runs slices on request."""

    def __init__(self, host: Host) -> None:
        self.missing = ""
        self._process: subprocess.Popen[str] | None = None
        try:
            python = shipped_python()
            script = Path(__file__).with_name("shipped_etcd3.py")
            self._process = subprocess.Popen(
                [python, script, host.name, str(host.port), "benchmark/shipped"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            if self._process.stdout is None or self._process.stdout.readline() != "ready\n":
                self.missing = "it doesn't start in its own environment, see above"
        except (OSError, subprocess.SubprocessError) as exc:
            self.missing = f"its environment can't be made: {exc}"

    def slice(self, name: str) -> Slice:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        given, answers = process.stdin, process.stdout

        def run(number: int) -> float:
            given.write(f"{name} {number}\n")
            given.flush()
            return float(answers.readline())

        return run

    def close(self) -> None:
        if self._process is not None:
            self._process.communicate()


def _against_shipped(store: tenure.Store, shipped: Shipped, seconds: float) -> Iterator[Result]:
    key = "benchmark/ours"
    revision = store.put(key, VALUE).revision

    def replace() -> None:
        nonlocal revision
        revision = store.put_if_unchanged(key, VALUE, revision=revision).revision

    ours = {"get": lambda: store.get(key), "put": lambda: store.put(key, VALUE), "cas": replace}
    for name in ("get", "cas", "put"):
        if name == "cas":
            revision = store.put(key, VALUE).revision
        yield compare(
            f"etcd {name}, etcd3 as it ships",
            calls(ours[name]),
            shipped.slice(name),
            target=TARGET_SHIPPED,
            seconds=seconds,
            note="its transactions don't tell their revision, so a get goes along" if name == "cas" else "",
        )
