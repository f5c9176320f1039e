"""A client whose answers are held up in the middle of a call, so that another client can act between its requests.

A store may need several requests for one call. What others write in between has to be seen or refused, and no wait for
luck shows that: the network holds the answers back from some piece on, another client acts, and the call goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from tenure.conformance.fault_injection.faults import FAILS, wait_for_effects
from tenure.conformance.harness.context import RuleContext
from tenure.conformance.network import Direction
from tenure.conformance.workloads.threads import DEADLINE, Running
from tenure.errors import Conflict

T = TypeVar("T")

_MOMENTS = 12
"""Pieces of answers that come before a call is held up at most."""
_MISSES = 3


@dataclass(frozen=True, slots=True)
class HeldUp(Generic[T]):
    """How a call ended that was held up.

    Attributes:
        did: what was done.
        returned: what the call returned. ``None``: it raised a ``Conflict``, or that it had no answer.
    """

    did: str
    returned: T | None


class HeldUpClient:
    """One client behind a network of its own."""

    def __init__(self, context: RuleContext) -> None:
        self._context = context
        self._network = context.another_network()
        self._acted = 0
        self._held = False
        self.store = context.connect(through=self._network, timeout=DEADLINE)
        """Its connection."""

    def moments(self) -> Iterator[int]:
        """The moments of a call, as pieces of answers that come before: make the call at each of them.

        They end when calls in a row have ended before anything was held back: then there is no later moment.
        """
        misses = 0
        for number in range(_MOMENTS):
            self._held = False
            yield number
            misses = 0 if self._held else misses + 1
            if misses == _MISSES:
                return

    def call(self, call: Callable[[], T], act: Callable[[], object], did: str, *, passes: int) -> HeldUp[T] | None:
        """Make a call, and act once its answers are held back, after the first ``passes`` pieces of them.

        Returns ``None`` if nothing was held back before the call had ended.
        """
        returned: list[T] = []

        def run() -> None:
            try:
                returned.append(call())
            except (Conflict, *FAILS):
                return

        did = f"{did}, held up after {passes} pieces of answers, in which another client acted"
        with self._network.black_hole(Direction.DOWN, passes=passes) as hole:
            running = Running(self._context.check, [run], did)
            wait_for_effects(hole, 1, DEADLINE, unless=lambda: not running.alive)
            self._held = hole.effects > 0
            if self._held:
                act()
                self._acted += running.alive
        running.join()
        return HeldUp(did, returned[0] if returned else None) if self._held else None

    def require_effect(self) -> None:
        """Require that the other client acted during a call; otherwise the rule is inconclusive."""
        self._context.evidence.count("calls held up", self._acted)
        self._context.check.enough(self._acted, 1, "a change by another client while a call was held up")
