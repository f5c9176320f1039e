"""gRPC servers: in this process, where a test decides what they answer, and the example as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import grpc

from tenure.registry import Instance, Registry
from tenure_testkit.servers.ports import free_port
from tenure_testkit.waiting import PATIENCE

EXAMPLES = Path(__file__).parents[2] / "examples"
GET, COUNT, SUM, ECHO = "/shop.Shop/Get", "/shop.Shop/Count", "/shop.Shop/Sum", "/shop.Shop/Echo"


class ShopServer:
    """A server in this process with an entry of its own. Each call counts, and answers with the server's port."""

    def __init__(self, store: object) -> None:
        self.calls = 0
        self.answer: Callable[[grpc.ServicerContext], None] = lambda context: None
        """Called by each call: it may wait, or abort."""
        self.pool = ThreadPoolExecutor(16)
        self.port = free_port()
        self.server: grpc.Server | None = None
        self.listen()
        self.instance = Instance("shop", host="127.0.0.1", port=self.port)
        self.registry = Registry(store, instance=self.instance).start()

    def listen(self) -> None:
        self.server = grpc.server(self.pool, options=[("grpc.so_reuseport", 0)])
        methods = {
            "Get": grpc.unary_unary_rpc_method_handler(lambda _request, context: self._count(context)),
            "Count": grpc.unary_stream_rpc_method_handler(self._stream),
            "Sum": grpc.stream_unary_rpc_method_handler(lambda requests, context: self._count(context, *requests)),
            "Echo": grpc.stream_stream_rpc_method_handler(self._echo),
        }
        self.server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("shop.Shop", methods)])
        assert self.server.add_insecure_port(f"127.0.0.1:{self.port}") == self.port
        self.server.start()

    @property
    def name(self) -> bytes:
        return b"%d" % self.port

    def _count(self, context: grpc.ServicerContext, *_requests: bytes) -> bytes:
        self.calls += 1
        self.answer(context)
        return self.name

    def _stream(self, request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        for _ in range(int(request)):
            yield self._count(context)

    def _echo(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        for _ in requests:
            yield self._count(context)

    def crash(self) -> None:
        """Close listener and connections. The entry stays, as after a crash."""
        if self.server is not None:
            self.server.stop(None).wait(PATIENCE)
            self.server = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.crash()
        self.registry.close()
        self.pool.shutdown(wait=False)


class ShopProcess:
    """The example's server. In ``with``, it is killed at the end if it still runs."""

    def __init__(self, store_url: str, logs: Path) -> None:
        self.port = free_port()
        self._log = logs / f"server-{self.port}.log"
        with self._log.open("w") as file:
            self.process = subprocess.Popen(
                [sys.executable, "shop_server.py"],
                cwd=EXAMPLES,
                env={**os.environ, "STORE": store_url, "PORT": str(self.port)},
                stdout=file,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    def terminate(self) -> None:
        self.process.terminate()

    def wait(self) -> int:
        return self.process.wait(timeout=PATIENCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Load:
    """Threads that call the service through one channel, with stubs made once, from ``with`` to its end."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.answered: dict[bytes, int] = {}
        self.failures: list[str] = []
        self._enough = threading.Event()
        get, count = channel.unary_unary(GET), channel.unary_stream(COUNT)
        ways: list[Callable[[], list[bytes]]] = [
            lambda: [get(b"", timeout=30)],
            lambda: [get.future(b"0.02", timeout=30).result()],
            lambda: list(count(b"5", timeout=30)),
        ]
        self._threads = [threading.Thread(target=self._run, args=(way,)) for way in ways]

    def _run(self, call: Callable[[], list[bytes]]) -> None:
        while not self._enough.is_set():
            try:
                for answer in call():
                    self.answered[answer] = self.answered.get(answer, 0) + 1
            except grpc.RpcError as error:
                self.failures.append(f"{error.code()}: {error.details()}")
            self._enough.wait(0.01)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        for thread in self._threads:
            thread.join(PATIENCE)
