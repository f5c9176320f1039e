"""What core would get wrong for those who are cut off: holders believe too long, registries don't come back."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, ExitStack
from unittest.mock import patch

from tenure.leases import Lease, LeaseState
from tenure.leases.machine import LeaseMachine
from tenure.registry import Registry
from tenure.registry.lifecycle.recovery import Recovery

from .base import Mutant
from .tcp import Networked


class LossIsHearsay(Networked):
    """The holder of a lease believes in it until the store says that it is gone."""

    rules = (
        "faults.a_holder_cut_off_knows_before_anyone_else",
        "faults.a_stopped_holder_knows_before_it_writes",
    )

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        patches = ExitStack()
        patches.enter_context(patch.object(Lease, "state", property(lambda lease: lease._end or LeaseState.ALIVE)))
        patches.enter_context(patch.object(LeaseMachine, "_next_deadline", lambda machine: math.inf))
        return patches


class CutOffLooksFresh(Networked):
    """A registry that is cut off says that what it serves is up to date."""

    rules = ("faults.a_partitioned_observer_serves_the_last_known",)

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        return patch.object(Registry, "staleness", property(lambda registry: 0.0))


class GoneForGood(Networked):
    """An instance that has lost its entry isn't registered again."""

    rules = (
        "faults.an_instance_cut_off_comes_back",
        "faults.a_store_that_forgot_gets_its_instances_back",
    )

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        return patch.object(Recovery, "mark_suspect", lambda recovery, reason: None)


MUTANTS: tuple[Mutant, ...] = (LossIsHearsay, CutOffLooksFresh, GoneForGood)
