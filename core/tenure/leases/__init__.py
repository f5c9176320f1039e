"""Leases: an object that keeps itself alive and knows when it is lost; see ``tenure.leases.lease``."""

from tenure.leases.lease import Lease, LeaseState

__all__ = ["Lease", "LeaseState"]
