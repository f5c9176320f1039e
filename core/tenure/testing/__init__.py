"""For the tests of applications: a store of their own, time that they move, and faults when they say so.

With pytest there is nothing to import, the fixtures are there wherever Tenure is installed::

    def test_the_job_stops_when_its_lease_is_lost(tenure_store, tenure_faults):
        job = Job(tenure_store)
        tenure_faults.expire_lease(job.lease)
        assert job.stopped

Elsewhere a :class:`Sandbox` is all of it::

    with Sandbox() as box:
        job = Job(box.connect())
        box.faults.expire_lease(job.lease)

The faults come from a layer between core and the store, so they are the same on every store, and core reacts to them
as to real ones: retries, lost leases, resumed watches. The store is one inside the process unless another is named.

The fixtures are a pytest plugin in this package that every test run loads: so nothing else of it is imported before it
is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tenure.testing.clock import VirtualClock, wait_until
    from tenure.testing.faults import Faults
    from tenure.testing.plan import LostAnswer, Refusal
    from tenure.testing.sandbox import Sandbox, UnusedFault

__all__ = ["Faults", "LostAnswer", "Refusal", "Sandbox", "UnusedFault", "VirtualClock", "wait_until"]


def __getattr__(name: str) -> Any:
    for module in ("clock", "faults", "plan", "sandbox"):
        if name in __all__ and hasattr(found := import_module(f"{__name__}.{module}"), name):
            return getattr(found, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
