"""The whole catalogue: every class of rules, in the order in which they are run and reported.

Needs no pytest: the runner takes the rules from here, and :class:`leasehold.conformance.StoreConformance` adds the
fixtures under which pytest runs the same ones.
"""

from __future__ import annotations

from leasehold.conformance.closing import ClosingRules
from leasehold.conformance.fault_leases import FaultLeaseRules
from leasehold.conformance.fault_registry import FaultRegistryRules
from leasehold.conformance.fault_watches import FaultWatchRules
from leasehold.conformance.faults import FaultRules
from leasehold.conformance.kv import KvRules, NamespaceRules
from leasehold.conformance.leases import LeaseRules
from leasehold.conformance.lists import ListRules
from leasehold.conformance.locks import LockRules
from leasehold.conformance.model import ModelRules
from leasehold.conformance.order import OrderRules
from leasehold.conformance.registry import RegistryRules
from leasehold.conformance.restarts import RestartRules
from leasehold.conformance.spi import SpiRules
from leasehold.conformance.transactions import TransactionRules
from leasehold.conformance.watches import WatchRules


class AllRules(
    KvRules,
    OrderRules,
    NamespaceRules,
    TransactionRules,
    ListRules,
    LeaseRules,
    LockRules,
    WatchRules,
    ClosingRules,
    SpiRules,
    RegistryRules,
    RestartRules,
    FaultRules,
    FaultWatchRules,
    FaultLeaseRules,
    FaultRegistryRules,
    ModelRules,
):
    """Every rule that a store has to keep."""
