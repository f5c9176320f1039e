"""The examples as real programs, gunicorn among them, and clients that put them under load."""

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

from tenure import NoInstanceAvailable, ServiceNotFound
from tenure.plugin_kit import monotonic
from tenure.registry import Registry
from tenure_testkit.servers.ports import free_port
from tenure_testkit.waiting import PATIENCE

_PAUSE = 0.01
"""Seconds between two requests of a thread, so that the load leaves the machine to what is tested."""
EXAMPLES = Path(__file__).parents[2] / "examples"


class Program:
    """A Python program and the processes that it makes. In ``with``, all of them are killed at the end."""

    def __init__(self, log: Path, *command: str, cwd: Path = EXAMPLES, **environment: str) -> None:
        self._log = log
        self._began = monotonic()
        with log.open("w") as file:
            self.process = subprocess.Popen(
                [sys.executable, *command],
                cwd=cwd,
                env={**os.environ, **environment},
                stdout=file,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    def booted(self) -> float:
        """Return the seconds since the start: on this machine an interpreter's end takes no longer than its begin."""
        return monotonic() - self._began

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def terminate(self) -> None:
        self.signal(signal.SIGTERM)

    def wait(self) -> int:
        return self.process.wait(timeout=PATIENCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Gunicorn(Program):
    """gunicorn with ``examples/shop.py``, on a port of its own."""

    def __init__(self, store_url: str, logs: Path, *arguments: str, **environment: str) -> None:
        self.port = free_port()
        super().__init__(
            logs / f"gunicorn-{self.port}.log",
            "-m",
            "gunicorn",
            "--config=gunicorn.conf.py",
            f"--bind=127.0.0.1:{self.port}",
            "--no-control-socket",
            *arguments,
            "shop:application",
            STORE=store_url,
            PORT=str(self.port),
            **environment,
        )


class Load:
    """Threads that call the service ``shop`` by its name, one request after another, from ``with`` to its end.

    Connections are kept alive, and no request is tried twice. A moment without an instance counts as a failure.
    """

    def __init__(self, registry: Registry, *, threads: int = 2) -> None:
        self.answered: Counter[int] = Counter()
        """Answers by the port of the instance."""
        self.pids: set[int] = set()
        self.failures: list[str] = []
        self._registry = registry
        self._client = httpx.Client(timeout=30, transport=httpx.HTTPTransport(retries=0))
        self._enough = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]

    def _run(self) -> None:
        while not self._enough.is_set():
            try:
                answer = self._client.post(f"http://{self._registry.pick('shop').address}/")
                answer.raise_for_status()
                self.answered[answer.json()["port"]] += 1
                self.pids.add(answer.json()["pid"])
            except (httpx.HTTPError, NoInstanceAvailable, ServiceNotFound) as exc:
                self.failures.append(repr(exc))
            self._enough.wait(_PAUSE)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        for thread in self._threads:
            thread.join(PATIENCE)
        self._client.close()
