"""Tools for the tests of applications: a store per test, a clock that the test moves, and faults on demand.

With pytest there is nothing to import: the fixtures exist wherever Tenure is installed::

    def test_the_job_stops_when_its_lease_is_lost(tenure_store, tenure_faults):
        job = Job(tenure_store)
        tenure_faults.expire_lease(job.lease)
        wait_until(lambda: job.stopped)

Without pytest, a :class:`Sandbox` has all of it:

>>> from tenure.testing import Sandbox, wait_until
>>> lost = []
>>> with Sandbox() as box:
...     lease = box.connect().lease(10.0, on_lost=lost.append)
...     box.faults.expire_lease(lease)
...     wait_until(lambda: lost == [lease])  # another thread calls on_lost

The faults come from a layer between core and the store, so they are the same on every store. Core reacts to them as to
real faults: retries, lost leases, resumed watches. The store is one inside the process unless the test names another.

Every test run loads the fixtures, which are a pytest plugin in this package. So the rest of the package is imported
only when a test uses it.
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
