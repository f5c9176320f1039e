"""What an actor did, line by line, in a file that survives the process: it may be killed at any moment."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Journal:
    """Appends records to a file, each by one system call, so that a killed process leaves whole lines."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, **record: Any) -> None:
        """Append one record."""
        os.write(self._descriptor, json.dumps(record).encode() + b"\n")


def records(folder: Path) -> Iterator[dict[str, Any]]:
    """The records of all journals of a folder."""
    for path in sorted(folder.glob("*.journal")):
        for line in path.read_text().splitlines():
            yield json.loads(line)
