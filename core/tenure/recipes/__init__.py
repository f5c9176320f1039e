"""Recipes: locks and what else people come for, on any store.

Each is written once as steps without I/O (:mod:`tenure._steps`), and has a synchronous face here.
"""

from tenure.recipes._holding import Held, Holding
from tenure.recipes.election import Election, Leader, Observation
from tenure.recipes.lock import Lock
from tenure.recipes.read_write_lock import ReadWriteLock
from tenure.recipes.semaphore import Semaphore
from tenure.recipes.session import Session

__all__ = ["Election", "Held", "Holding", "Leader", "Lock", "Observation", "ReadWriteLock", "Semaphore", "Session"]
