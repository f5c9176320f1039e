"""Broken stores by area: the proof that the conformance suite finds what is wrong.

``tests/conformance/run_mutants.py`` tries every mutant with all rules of its area; ``base`` says how to write one.
"""

from __future__ import annotations

from . import (
    bulk,
    closing,
    faults,
    feeds,
    held_up,
    keys,
    kv,
    later_faults,
    lease_ends,
    lease_ids,
    leases,
    lists,
    model,
    namespaces,
    one_key,
    order,
    partition,
    recipes,
    registry,
    restarts,
    several_clients,
    spi,
    transactions,
    watches,
)
from .base import Faithful, Mutant, installed
from .controls import CONTROLS
from .harness import HARNESS
from .unkilled_rules import STAYING

MUTANTS: tuple[Mutant, ...] = (
    *kv.MUTANTS,
    *keys.MUTANTS,
    *order.MUTANTS,
    *namespaces.MUTANTS,
    *transactions.MUTANTS,
    *lists.MUTANTS,
    *bulk.MUTANTS,
    *leases.MUTANTS,
    *lease_ids.MUTANTS,
    *lease_ends.MUTANTS,
    *several_clients.MUTANTS,
    *recipes.MUTANTS,
    *feeds.MUTANTS,
    *watches.MUTANTS,
    *one_key.MUTANTS,
    *closing.MUTANTS,
    *spi.MUTANTS,
    *registry.MUTANTS,
    *restarts.MUTANTS,
    *faults.MUTANTS,
    *partition.MUTANTS,
    *later_faults.MUTANTS,
    *held_up.MUTANTS,
    *model.MUTANTS,
)
"""All of them, area by area."""

__all__ = ["CONTROLS", "HARNESS", "MUTANTS", "STAYING", "Faithful", "Mutant", "area_of", "defect_of", "installed"]


def area_of(mutant: Mutant) -> str:
    """The area whose rules have to kill it."""
    return mutant.rules[0].partition(".")[0]


def defect_of(mutant: Mutant) -> str:
    """What is broken, in one sentence."""
    return " ".join((mutant.__doc__ or "").split())
