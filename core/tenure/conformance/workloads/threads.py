"""Run functions at the same time, with a deadline and without losing an error."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from tenure.conformance.harness.assertions import Checks

T = TypeVar("T")

DEADLINE = 40.0
"""Seconds that a concurrent part of a rule may take before it counts as hanging."""


class Running:
    """Functions that run in threads of their own until :meth:`join`."""

    def __init__(self, check: Checks, functions: Sequence[Callable[[], object]], did: str) -> None:
        self._check = check
        self._did = did
        self._errors: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._run, args=(function,), name=f"conformance-{number}", daemon=True)
            for number, function in enumerate(functions)
        ]
        for thread in self._threads:
            thread.start()

    def _run(self, function: Callable[[], object]) -> None:
        try:
            function()
        except BaseException as exc:  # noqa: BLE001 - raised again by join
            self._errors.append(exc)

    @property
    def failed(self) -> bool:
        """Whether a function has raised, so waiting is useless."""
        return bool(self._errors)

    @property
    def alive(self) -> bool:
        """Whether a function still runs."""
        return any(thread.is_alive() for thread in self._threads)

    def join(self, within: float = DEADLINE) -> None:
        """Wait for all functions to end; raise what one of them raised. Not ending in time violates the rule."""
        deadline = time.monotonic() + within
        for thread in self._threads:
            while thread.is_alive() and not self._errors:
                thread.join(0.05)
                if time.monotonic() > deadline:
                    raise self._check.fail(self._did, expected=f"an end within {within:.0f} s", seen="still running")
        if self._errors:
            raise self._errors[0]


def together(check: Checks, functions: Sequence[Callable[[], T]], did: str, *, within: float | None = None) -> list[T]:
    """Start all functions at once; return their results in order, after at most ``within`` seconds."""
    barrier = threading.Barrier(len(functions))
    answers: dict[int, T] = {}

    def run(number: int, function: Callable[[], T]) -> None:
        barrier.wait(DEADLINE)
        answers[number] = function()

    runners = [lambda n=number, f=function: run(n, f) for number, function in enumerate(functions)]
    Running(check, runners, did).join(DEADLINE if within is None else within)
    return [answers[number] for number in range(len(functions))]
