"""The example's service in real uvicorn processes on 127.0.0.1, and clients that put them under load."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Self

import httpx
from tenure_asgi.httpx import TenureTransport

from tenure.registry import Registry
from tenure_testkit.servers.ports import free_port
from tenure_testkit.waiting import until

_PAUSE = 0.01
"""Seconds between two requests of a thread, so that the load leaves the machine to what is tested."""
EXAMPLES = Path(__file__).parents[2] / "examples"


class ServiceProcess:
    """One uvicorn process. In ``with``, it is killed at the end if it still runs."""

    def __init__(self, store_url: str, log: Path, *arguments: str, **environment: str) -> None:
        self.port = free_port()
        self._log = log / f"service-{self.port}.log"
        with self._log.open("w") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "uvicorn", "service:app", f"--port={self.port}", *arguments],
                cwd=EXAMPLES,
                env={**os.environ, "STORE": store_url, "PORT": str(self.port), **environment},
                stdout=file,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return self._log.read_text()

    def get(self, path: str) -> httpx.Response | None:
        """Ask this process itself; ``None`` if it doesn't listen."""
        try:
            return httpx.get(f"http://{self.address}{path}", timeout=10)
        except httpx.TransportError:
            return None

    def wait_ready(self) -> Self:
        def ready() -> bool:
            assert self.process.poll() is None, self.log
            answer = self.get("/health/ready")
            return answer is not None and answer.status_code == 200

        until(ready, what="the service is ready")
        return self

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def wait(self) -> int:
        return self.process.wait(timeout=60)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)  # workers, too, which outlive their parent
        self.process.wait()


class Load:
    """Threads that call a service by its name, one request after another, from ``with`` to its end."""

    def __init__(self, registry: Registry, *, threads: int = 2) -> None:
        self.answered: Counter[int] = Counter()
        """Answers by the port of the instance."""
        self.failures: list[str] = []
        # One attempt: what a second instance would make good is a failure here.
        transport = TenureTransport(registry, attempts=1)
        self._client = httpx.Client(transport=transport, base_url="http://shop.tenure", timeout=10)
        self._enough = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(threads)]

    def _run(self, number: int) -> None:
        while not self._enough.is_set():
            try:
                # Half of the threads send what must not be sent twice.
                answer = self._client.post("/orders/none") if number % 2 else self._client.get("/greet/ann")
                answer.raise_for_status()
                self.answered[answer.json()["port"]] += 1
            except httpx.HTTPError as exc:
                self.failures.append(repr(exc))
            self._enough.wait(_PAUSE)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        for thread in self._threads:
            thread.join(60)
        self._client.close()
