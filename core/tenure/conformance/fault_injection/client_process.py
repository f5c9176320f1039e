"""The suite's side of a :mod:`.client_process_main`: send commands, wait for answers, stop and resume the process."""

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

from tenure.conformance.harness.assertions import EVENT_TIMEOUT, RuleInconclusive, inconclusive
from tenure.conformance.harness.context import RuleContext


class ClientProcess:
    """A client process that has the store of ``context`` open. Use it in ``with``: its end kills the process.

    It uses the store through the face of ``context``.

    ``clock_ahead``: by so many seconds its wall clock is ahead.
    """

    def __init__(self, context: RuleContext, *, clock_ahead: float = 0.0) -> None:
        self._context = context
        module = "tenure.conformance.fault_injection.client_process_main"
        self._process = subprocess.Popen(  # noqa: S603 - this interpreter, a name and a number
            [sys.executable, "-m", module, context.face.name, str(clock_ahead)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, name="conformance-client-process", daemon=True)
        self._reader.start()
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        opened = self.ask("open", url=self._context.url_in_namespace)
        if "error" in opened:
            raise self._inconclusive(f"it could not open the store: {opened['error']}: {opened['message']}")

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Send a command and return its answer."""
        self.send(command, **arguments)
        return self.answer()

    def send(self, command: str, **arguments: Any) -> None:
        """Send a command; a stopped process executes it first when it resumes."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": command, **arguments}) + "\n")
            self._process.stdin.flush()
        except (OSError, ValueError) as exc:
            raise self._inconclusive(f"it ended: {exc}") from exc

    def answer(self) -> dict[str, Any]:
        """Return the answer to the earliest unanswered command."""
        try:
            line = self._answers.get(timeout=2 * EVENT_TIMEOUT)
        except queue.Empty:
            raise self._inconclusive("it gave no answer") from None
        if not line:
            raise self._inconclusive("it ended without an answer")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def stop(self) -> None:
        """Stop the process, as a debugger or a suspended machine does."""
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WNOWAIT)

    def resume(self) -> None:
        """Let a stopped process continue."""
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Kill the process."""
        self._process.kill()
        self._process.wait(EVENT_TIMEOUT)
        self._reader.join(EVENT_TIMEOUT)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:
                    continue  # the process is gone and can't read the rest

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put("")

    def _inconclusive(self, why: str) -> RuleInconclusive:
        return inconclusive(self._context.rule, f"it needs a client process: {why}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
