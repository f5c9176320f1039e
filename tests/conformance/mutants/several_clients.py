"""Stores that take identical puts of several clients for one."""

from __future__ import annotations

import threading
import time
from typing import Any

from tenure.spi import CommitResult, Put
from tenure_testkit.tcp import TcpServer

from .base import Mutant
from .tcp import Networked

_WINDOW = 0.003


class Merging(TcpServer):
    """Puts of one value to one key that are under way together are made once."""

    def __init__(self, name: str) -> None:
        self._merging = threading.Lock()
        self._under_way: dict[Put, list[CommitResult]] = {}
        super().__init__(name)

    def do(self, method: str, arguments: dict[str, Any]) -> Any:
        """One call of the backend."""
        if method != "commit":
            return super().do(method, arguments)
        transaction = arguments["transaction"]
        if transaction.preconditions or len(transaction.operations) != 1:
            return super().do(method, arguments)
        operation = transaction.operations[0]
        if not isinstance(operation, Put):
            return super().do(method, arguments)
        with self._merging:
            made = self._under_way.get(operation)
            first = made is None
            if made is None:
                made = self._under_way[operation] = []
        if first:
            time.sleep(_WINDOW)
            with self._merging:
                del self._under_way[operation]
                made.append(super().do(method, arguments))
        while not made:
            time.sleep(_WINDOW / 10)
        return made[0]


class IdenticalPutsAreMerged(Networked):
    """Identical puts that different clients make at the same time become one change."""

    server_type = Merging
    rules = ("kv.identical_puts_of_several_processes_all_count",)


MUTANTS: tuple[Mutant, ...] = (IdenticalPutsAreMerged,)
