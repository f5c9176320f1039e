"""Watches: one contract over the different feeds of stores; see ``tenure.watch.engine``."""

from tenure.watch.engine import Watch
from tenure.watch.events import Batch, BatchType, Event, EventType

__all__ = ["Batch", "BatchType", "Event", "EventType", "Watch"]
