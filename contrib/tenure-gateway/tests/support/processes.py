"""The commands as processes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import Any, Self

from tenure_testkit.waiting import until

TENURE = [sys.executable, "-m", "tenure.cli", "--json"]


class Process:
    """A command that runs until the end of ``with``, and the events that it has told."""

    def __init__(self, url: str, *arguments: object, environment: Mapping[str, str] | None = None) -> None:
        self.events: list[dict[str, Any]] = []
        self._process = subprocess.Popen(
            [*TENURE, "--url", url, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.events.append(json.loads(line))

    def wait_for(self, kind: str, count: int = 1) -> list[dict[str, Any]]:
        def there() -> list[dict[str, Any]]:
            assert self._process.poll() is None
            found = [event for event in self.events if event["type"] == kind]
            return found if len(found) >= count else []

        return until(there, what=f"{count} times {kind}")

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self) -> int:
        """Wait until it ends by itself, and return its exit code."""
        return self._process.wait(60)

    def end(self) -> int:
        self.send(signal.SIGTERM)
        return self._process.wait(60)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()
