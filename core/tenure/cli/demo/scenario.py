"""The scenes of ``tenure demo``, and the check that every expected event came.

This process received every event that it shows from the store, about other processes. If an event doesn't come in
time, the demo fails.
"""

from __future__ import annotations

import json
import math
import os
import queue
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tenure._failed import Failed
from tenure._runtime.deadline import monotonic
from tenure._text import plural, seconds
from tenure.cli.commands.watch import change_pieces
from tenure.cli.ui.output import Output

if TYPE_CHECKING:
    from tenure.registry import InstanceEvent, Registry

SERVICE = "web"
HEARTBEAT = 1.0
_PATIENCE = 20.0
_LOOK = 0.2


@dataclass(slots=True)
class Worker:
    """One process that registers an instance."""

    name: str
    port: int
    process: subprocess.Popen[str]

    @classmethod
    def start(cls, url: str, registry: str, name: str, port: int) -> Worker:
        """Start the process. The URL goes through the environment, where other users can't read a password."""
        arguments = (registry, SERVICE, name, str(port), str(HEARTBEAT))
        process = subprocess.Popen(  # noqa: S603 - this package's own module
            [sys.executable, "-P", "-m", "tenure.cli.demo.worker", *arguments],
            env={**os.environ, "TENURE_URL": url},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        return cls(name, port, process)

    def tell(self, meta: dict[str, str]) -> None:
        """Give it new metadata."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(meta) + "\n")
        self.process.stdin.flush()

    def end(self) -> None:
        """Make sure that it is gone, and free its pipes."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.communicate()


class Scenes:
    """The demo, scene by scene, on a registry that watches."""

    def __init__(self, out: Output, registry: Registry, url: str) -> None:
        self._out = out
        self._registry = registry
        self._url = url
        self._events: queue.SimpleQueue[tuple[float, InstanceEvent]] = queue.SimpleQueue()
        self._started = monotonic()
        self._workers: list[Worker] = []
        self._shown = 0
        limits = registry.store.capabilities
        quantum = limits.ttl_granularity or HEARTBEAT
        self._ttl = math.ceil(max(HEARTBEAT, limits.min_ttl) / quantum - 1e-9) * quantum
        self._worst = limits.max_lifetime_after_refresh(self._ttl) + limits.max_watch_latency
        registry.add_handler(self._receive, service=SERVICE)

    def _receive(self, event: InstanceEvent) -> None:
        self._events.put((monotonic(), event))

    # -- the scenes --

    def play(self) -> None:
        """All of it. Raises ``Failed`` for the first thing that doesn't come as it should."""
        self._title("Three processes start and register themselves")
        for number, name in enumerate(("one", "two", "three"), start=1):
            self._workers.append(Worker.start(self._url, self._registry.config.name, name, 8000 + number))
        self._expect({("create", worker.name) for worker in self._workers})
        one, two, three = self._workers

        self._title("two updates its metadata")
        two.tell({"version": "2", "zone": "north"})
        self._expect({("upsert", "two")})

        self._title("one stops cleanly: it deregisters first")
        one.process.send_signal(signal.SIGTERM)
        stopped = self._expect({("delete", "one")}, action="SIGTERM")

        self._title("three is killed without warning: its lease ends, and with it the registration")
        three.process.send_signal(signal.SIGKILL)
        killed = self._expect({("delete", "three")}, action="SIGKILL", patience=self._worst + _PATIENCE / 2)

        self._verify_rest()
        self._summary(stopped, killed)

    def _verify_rest(self) -> None:
        left = {instance.id: dict(instance.meta) for instance in self._registry.get_service(SERVICE)}
        if left != {"two": {"version": "2", "zone": "north"}}:
            raise Failed(f"the cache should know the instance 'two' alone, with its new metadata, and knows {left}")

    def _summary(self, stopped: float, killed: float) -> None:
        taken = monotonic() - self._started
        store = self._registry.store
        self._title("What was seen")
        limit = f"lease {self._ttl:g} s, at most {self._worst:.1f} s on this store"
        for text, value, note in (
            ("registered", "3 instances", ""),
            ("updated", "1 instance", ""),
            ("stopped", "1 instance", f"gone after {seconds(stopped)}"),
            ("killed", "1 instance", f"gone after {seconds(killed)}; {limit}"),
            ("left", "1 instance", "two, version=2"),
        ):
            if not self._out.json:
                self._out.line((f"  {text:<12}", "dim"), (f"{value:<13}", "bold"), (note, "dim"))
        if not self._out.json:
            self._out.line(("", ""))
        self._out.event(
            {
                "type": "summary",
                "ok": True,
                "url": store.url,
                "events": self._shown,
                "seconds": round(taken, 3),
                "stopped_gone_after": round(stopped, 3),
                "killed_gone_after": round(killed, 3),
                "lease_ttl": self._ttl,
            },
            ("ok ", "bold green"),
            (f"{plural(self._shown, 'event')} in {seconds(taken)}, all as expected", ""),
        )

    def end(self) -> None:
        """End all processes, and remove all registrations."""
        for worker in self._workers:
            worker.end()

    # -- telling and checking --

    def _title(self, text: str) -> None:
        if not self._out.json:
            self._out.line(("", ""))
            self._out.line((text, "bold"))

    def _expect(self, wanted: set[tuple[str, str]], *, action: str = "", patience: float = _PATIENCE) -> float:
        """Show events until all expected ones came; return the seconds. Any other event is a failure."""
        began = monotonic()
        deadline = began + patience
        taken = 0.0
        missing = set(wanted)
        while missing:
            try:
                at, event = self._events.get(timeout=_LOOK)
            except queue.Empty:
                self._check_workers()
                if monotonic() >= deadline:
                    names = ", ".join(f"{kind} of {name!r}" for kind, name in sorted(missing))
                    raise Failed(f"no event came for: {names}, within {seconds(patience)}") from None
                continue
            taken = max(0.0, at - began)
            self._show(at, event, f"{seconds(taken)} after {action}" if action else "")
            found = (str(event.type), event.instance.id)
            if found not in missing:
                raise Failed(f"an unexpected event came: {found[0]} of {found[1]!r}")
            missing.discard(found)
        return taken

    def _show(self, at: float, event: InstanceEvent, remark: str) -> None:
        self._shown += 1
        record: dict[str, Any] = {
            "seconds": round(at - self._started, 3),
            "type": str(event.type),
            "instance": event.instance.to_dict(),
        }
        self._out.event(
            record,
            (f"{at - self._started:7.2f} s  ", "dim"),
            *change_pieces(event, str(event.type)),
            (f"  {remark}" if remark else "", "bold"),
        )

    def _check_workers(self) -> None:
        """Raise if a process ended early, with the reason."""
        for worker in self._workers:
            if worker.process.poll() not in (None, 0, -signal.SIGKILL):
                assert worker.process.stderr is not None
                last = worker.process.stderr.read().strip().splitlines() or ["no message"]
                raise Failed(f"the process {worker.name!r} ended with {worker.process.returncode}: {last[-1]}")
