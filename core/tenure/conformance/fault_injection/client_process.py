"""The suite's end of a :mod:`.client_process_main`: commands, answers within a time, stopping and going on."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from types import TracebackType
from typing import Any, Self

from tenure.conformance.harness.assertions import PATIENCE, RuleInconclusive
from tenure.conformance.harness.context import World


class Puppet:
    """A client process with the store of ``world`` opened. Use it in ``with``: the process is killed at the end."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tenure.conformance.fault_injection.client_process_main"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, name="conformance-puppet", daemon=True)
        self._reader.start()
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        opened = self.ask("open", url=self._world.url_in_namespace)
        if "error" in opened:
            raise self._vacuous(f"it could not open the store: {opened['error']}: {opened['message']}")

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Have a command carried out; its answer."""
        self.send(command, **arguments)
        return self.answer()

    def send(self, command: str, **arguments: Any) -> None:
        """Give a command, which a stopped process carries out first of all when it goes on."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": command, **arguments}) + "\n")
            self._process.stdin.flush()
        except (OSError, ValueError) as exc:
            raise self._vacuous(f"it ended: {exc}") from exc

    def answer(self) -> dict[str, Any]:
        """The answer to the earliest command that has not been answered yet."""
        try:
            line = self._answers.get(timeout=2 * PATIENCE)
        except queue.Empty:
            raise self._vacuous("it gave no answer") from None
        if not line:
            raise self._vacuous("it ended without an answer")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def stop(self) -> None:
        """The process stands still, as by a debugger or a machine that is suspended."""
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WNOWAIT)

    def go_on(self) -> None:
        """As if nothing had been."""
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Kill the process."""
        self._process.kill()
        self._process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:
                    continue  # what it never read can't be delivered any more

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put("")

    def _vacuous(self, why: str) -> RuleInconclusive:
        return RuleInconclusive(f"rule {self._world.rule.id} could not be judged, it takes a client process: {why}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
