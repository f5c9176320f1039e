"""Watching: the engine that gives one contract over feeds that differ; see ``leasehold.watch.engine``."""

from leasehold.watch.engine import Watch
from leasehold.watch.events import Batch, BatchKind, Event, EventKind

__all__ = ["Batch", "BatchKind", "Event", "EventKind", "Watch"]
