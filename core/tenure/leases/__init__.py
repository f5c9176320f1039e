"""Leases that are refreshed in the background and detect their own loss; see ``tenure.leases.lease``."""

from tenure.leases.lease import HeldLease, Lease, LeaseState

__all__ = ["HeldLease", "Lease", "LeaseState"]
