"""A real command line in a process of its own, read line by line with a deadline; never waited for by sleeping."""

from __future__ import annotations

import json
import os
import pty
import queue
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import IO, Any, Self

DEADLINE = 60.0


class Command:
    """``tenure ARGUMENTS`` as a process; its lines can be awaited. For use in ``with``: the end kills it."""

    def __init__(self, *arguments: str, url: str, **env: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tenure.cli", *arguments],
            env={**os.environ, "TENURE_URL": url, **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.out = Lines(self.process.stdout)
        self.err = Lines(self.process.stderr)

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        """The exit code."""
        return self.process.wait(DEADLINE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for lines in (self.out, self.err):
            lines.join()


def terminal(*arguments: str, url: str, **env: str) -> tuple[int, str]:
    """Run ``tenure ARGUMENTS`` on a terminal of its own, to its end: exit code, and what the terminal got."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        ["setsid", "--ctty", "--wait", sys.executable, "-m", "tenure.cli", *arguments],
        env={**os.environ, "TENURE_URL": url, "TERM": "xterm-256color", **env},
        stdin=follower,
        stdout=follower,
        stderr=follower,
    )
    os.close(follower)
    try:
        text = b""
        try:
            while chunk := read_terminal(leader):
                text += chunk
        except OSError:
            pass  # Linux says so when the last one has closed the other side
        return process.wait(DEADLINE), text.decode().replace("\r\n", "\n")
    finally:
        process.kill()
        process.wait()
        os.close(leader)


def read_terminal(leader: int) -> bytes:
    """What comes next from the other side of a terminal; fails if nothing comes in time."""
    ready, _, _ = select.select([leader], [], [], DEADLINE)
    assert ready, f"nothing came on the terminal for {DEADLINE:g} s"
    return os.read(leader, 4096)


class Lines:
    """What a process writes, as it comes."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self.seen: list[str] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for line in self._stream:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def until(self, wanted: Callable[[str], bool], what: str = "the awaited line") -> str:
        """The first line from here on for which ``wanted`` says yes; fails when the deadline passes."""
        deadline = time.monotonic() + DEADLINE
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"{what} did not come within {DEADLINE:g} s; before: {self.seen}") from None
            if line is None:
                raise AssertionError(f"the process ended before {what}; it said: {self.seen}")
            self.seen.append(line)
            if wanted(line):
                return line

    def with_text(self, text: str) -> str:
        return self.until(lambda line: text in line, f"a line with {text!r}")

    def record(self, **fields: Any) -> dict[str, Any]:
        """The first JSON object from here on that has these fields."""
        line = self.until(
            lambda line: fields.items() <= {k: v for k, v in json.loads(line).items() if k in fields}.items(),
            f"an object with {fields}",
        )
        found: dict[str, Any] = json.loads(line)
        return found

    def rest(self) -> list[str]:
        """Everything that is left, up to the end of the process."""
        lines = []
        while (line := self._lines.get(timeout=DEADLINE)) is not None:
            lines.append(line)
        return lines

    def join(self) -> None:
        """Only when nobody holds the other end of the pipe any more."""
        self._thread.join(DEADLINE)
        self._stream.close()
