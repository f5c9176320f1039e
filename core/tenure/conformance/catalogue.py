"""The whole catalogue: every class of rules, in the order in which they are run and reported.

Needs no pytest: the runner takes the rules from here, and :class:`tenure.conformance.StoreConformance` adds the
fixtures under which pytest runs the same ones.
"""

from __future__ import annotations

from tenure.conformance.rules.asyncio_alone import AsyncioRules
from tenure.conformance.rules.bulk import BulkRules
from tenure.conformance.rules.closing import ClosingRules
from tenure.conformance.rules.faults.clocks import ClockRules
from tenure.conformance.rules.faults.held_up import HeldUpRules
from tenure.conformance.rules.faults.late_answers import LateAnswerRules
from tenure.conformance.rules.faults.leases import FaultLeaseRules
from tenure.conformance.rules.faults.registry import FaultRegistryRules
from tenure.conformance.rules.faults.restarts import RestartRules
from tenure.conformance.rules.faults.restores import RestoreRules
from tenure.conformance.rules.faults.rights import RightRules
from tenure.conformance.rules.faults.watches import FaultWatchRules
from tenure.conformance.rules.faults.writes import FaultRules
from tenure.conformance.rules.kv import KvRules, NamespaceRules
from tenure.conformance.rules.lease_ends import LeaseEndRules
from tenure.conformance.rules.leases import LeaseRules
from tenure.conformance.rules.lists import ListRules
from tenure.conformance.rules.model import ModelRules
from tenure.conformance.rules.order import OrderRules
from tenure.conformance.rules.recipes.changes import ChangeRules
from tenure.conformance.rules.recipes.company import CompanyRules
from tenure.conformance.rules.recipes.holders import HolderRules
from tenure.conformance.rules.registry import RegistryRules
from tenure.conformance.rules.several_clients import IdenticalPutRules
from tenure.conformance.rules.spi import SpiRules
from tenure.conformance.rules.transactions import TransactionRules
from tenure.conformance.rules.watches import WatchRules


class AllRules(
    KvRules,
    OrderRules,
    IdenticalPutRules,
    NamespaceRules,
    TransactionRules,
    ListRules,
    BulkRules,
    LeaseRules,
    LeaseEndRules,
    HolderRules,
    ChangeRules,
    CompanyRules,
    WatchRules,
    ClosingRules,
    SpiRules,
    RegistryRules,
    RestartRules,
    RestoreRules,
    FaultRules,
    FaultWatchRules,
    FaultLeaseRules,
    LateAnswerRules,
    HeldUpRules,
    ClockRules,
    RightRules,
    FaultRegistryRules,
    ModelRules,
):
    """Every rule that a store has to keep."""


class FaceRules(AllRules, AsyncioRules):
    """The same, and those about the asyncio interface alone: what a run through that interface tries."""
