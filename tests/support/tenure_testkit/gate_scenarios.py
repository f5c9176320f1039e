"""Scenarios for exploring gates: writers with fences pass, each writing its fence in the same transaction."""

from __future__ import annotations

from dataclasses import dataclass, field

from tenure._runtime.clock import TimeLimit
from tenure._steps.effects import Commit, Steps
from tenure.errors import Conflict, OutcomeUnknown, TenureError
from tenure.recipes.fencing import Fence, GateSteps
from tenure.spi.types import Put
from tenure_testkit.exploration import Cancelled, Mark, Scenario, World

RESOURCE = "resource"


@dataclass
class Writers(Scenario):
    """Writers at one gate.

    Attributes:
        fences: the fence of each writer.
        admits: whether a writer closes the gate first, in a transaction of its own.
    """

    fences: tuple[Fence, ...] = (Fence(0, 1), Fence(0, 2))
    admits: bool = False
    name: str = field(default="gate", init=False)

    def __post_init__(self) -> None:
        self._written: list[Fence] = []

    @property
    def values(self) -> tuple[Fence, ...]:
        """One for each participant."""
        return self.fences

    def begin(self, world: World) -> None:
        for number, fence in enumerate(self.fences):
            world.add(f"p{number + 1}", self._write(world, fence))

    def check_end(self, world: World) -> None:
        assert _read(world, RESOURCE) >= max(self._written, default=Fence(0, 0)), "an earlier holder wrote later"
        for one in world.participants:
            assert one.error is None or isinstance(one.error, TenureError | Cancelled), f"{one.name}: {one.error!r}"

    def _write(self, world: World, fence: Fence) -> Steps[None]:
        gate, limit = GateSteps("name"), TimeLimit(world.clock, None)
        if self.admits:
            yield from gate.admit(fence, limit)
            yield from Mark(lambda: self._check_closed(world, gate, fence))
        guard, put = yield from gate.pass_through(fence, limit)
        write = Put(RESOURCE, str(fence).encode())
        try:
            yield from Commit((guard,), (write,) if put is None else (put, write), limit)
        except (Conflict, OutcomeUnknown):
            return
        self._written.append(fence)

    def _check_closed(self, world: World, gate: GateSteps, fence: Fence) -> None:
        assert _read(world, gate.key) >= fence, "the gate is open to earlier holders after a later one was admitted"


def _read(world: World, key: str) -> Fence:
    item = world.store.get(key)
    return Fence(0, 0) if item is None else Fence.parse(item.value.decode())
