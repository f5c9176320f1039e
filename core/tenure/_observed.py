"""What hooks tell of a store and of an operation. Apart from the hooks, since those import pluggy."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class ObservedStore:
    """The store that a hook is about, in parts that are fit for labels.

    Attributes:
        url: the store's URL, any password replaced by ``***``.
        scheme: the URL's scheme, such as ``"redis"``.
        namespace: the namespace of all keys, empty if there is none.
        host: the host of the URL. ``None`` if the URL names several, or the store is no server.
        port: the port of that host, or ``None``.
    """

    url: str
    scheme: str
    namespace: str = ""
    host: str | None = None
    port: int | None = None


class Outcome(StrEnum):
    """How an operation ended.

    Attributes:
        DONE: it returned.
        CONFLICT: a precondition didn't hold, so nothing was written. That is an answer, not an error.
        FAILED: it raised another error. A write was certainly not applied.
        UNKNOWN: a write was sent and its outcome is not known (``OutcomeUnknown``).
        INTERRUPTED: the application interrupted the call, such as by ``KeyboardInterrupt``.
    """

    DONE = "done"
    CONFLICT = "conflict"
    FAILED = "failed"
    UNKNOWN = "unknown"
    INTERRUPTED = "interrupted"
