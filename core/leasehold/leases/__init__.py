"""Leases: an object that keeps itself alive and knows when it is lost; see ``leasehold.leases.lease``."""

from leasehold.leases.lease import Lease, LeaseState

__all__ = ["Lease", "LeaseState"]
