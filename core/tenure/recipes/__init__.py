"""Recipes: locks and what else people come for, on any store.

Each is written once as steps without I/O (:mod:`tenure._steps`), and has a synchronous face here. All are importable
from ``tenure``.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tenure.recipes._holding import Held as Held
    from tenure.recipes.atomic_value import AtomicValue as AtomicValue
    from tenure.recipes.barrier import Barrier as Barrier
    from tenure.recipes.bus import Bus as Bus
    from tenure.recipes.bus import Message as Message
    from tenure.recipes.cached_prefix import CachedPrefix as CachedPrefix
    from tenure.recipes.cached_value import CachedValue as CachedValue
    from tenure.recipes.codec import BYTES as BYTES
    from tenure.recipes.codec import JSON as JSON
    from tenure.recipes.codec import TEXT as TEXT
    from tenure.recipes.codec import Codec as Codec
    from tenure.recipes.count_down_latch import CountDownLatch as CountDownLatch
    from tenure.recipes.counter import Counter as Counter
    from tenure.recipes.double_barrier import DoubleBarrier as DoubleBarrier
    from tenure.recipes.election import Election as Election
    from tenure.recipes.election import Leader as Leader
    from tenure.recipes.fencing import Fence as Fence
    from tenure.recipes.fencing import Gate as Gate
    from tenure.recipes.group import Group as Group
    from tenure.recipes.group import Member as Member
    from tenure.recipes.id_block import IdBlock as IdBlock
    from tenure.recipes.lock import Lock as Lock
    from tenure.recipes.multi_lock import MultiLock as MultiLock
    from tenure.recipes.once import once as once
    from tenure.recipes.partitioner import Partitioner as Partitioner
    from tenure.recipes.persistent_key import PersistentKey as PersistentKey
    from tenure.recipes.rate_limiter import RateLimiter as RateLimiter
    from tenure.recipes.read_write_lock import ReadWriteLock as ReadWriteLock
    from tenure.recipes.schedule import Schedule as Schedule
    from tenure.recipes.semaphore import Semaphore as Semaphore
    from tenure.recipes.session import Session as Session
    from tenure.recipes.transact import TransactView as TransactView
    from tenure.recipes.transact import transact as transact
    from tenure.recipes.work_queue import Claim as Claim
    from tenure.recipes.work_queue import DeadLetter as DeadLetter
    from tenure.recipes.work_queue import WorkQueue as WorkQueue
