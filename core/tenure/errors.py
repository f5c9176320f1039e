"""Every error Tenure raises: one root, each says whose fault it is and whether trying again is safe.

Driver exceptions never reach the caller. Each plugin translates its client's errors into these in one
place (its ``errors.py``), with ``raise ... from exc``, so that the original is still in the traceback.

A write ends in one of three ways, and the type of the error tells which:

* it returned: **done**;
* :class:`OutcomeUnknown`: **unknown**, it was sent and no answer came, it may be applied now or later;
** any other error of this module: **refused**, nothing was changed and nothing will be.

One call makes several writes: ``delete_prefix``. When it stops between two of them it raises
:class:`PartiallyApplied`, which tells how many keys are deleted.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import ClassVar


class ErrorOrigin(StrEnum):
    """Who has to act for the call to succeed."""

    CALLER = "caller"
    CONFIGURATION = "configuration"
    CONTENTION = "contention"
    STORE = "store"
    NETWORK = "network"
    PLUGIN = "plugin"


class RetryAdvice(StrEnum):
    """What may be done with the same call after this error."""

    SAFE = "safe"
    """Nothing was applied, and the same call may succeed later."""

    READ_FIRST = "read_first"
    """Read first: either the state has changed, or it isn't known whether the call was applied."""

    USELESS = "useless"
    """Nothing was applied, and the same call will fail again."""


class TenureError(Exception):
    """Root of all errors raised by Tenure and its plugins."""

    origin: ClassVar[ErrorOrigin] = ErrorOrigin.STORE
    retry: ClassVar[RetryAdvice] = RetryAdvice.USELESS


# -- configuration and plugins ---------------------------------------------------------------------


class ConfigError(TenureError):
    """A URL, an option or an argument of ``connect`` is wrong. The message names the choices."""

    origin = ErrorOrigin.CONFIGURATION


class UnknownScheme(ConfigError):
    """No installed plugin serves the URL's scheme. The message says what to install."""


class PluginError(TenureError):
    """A plugin can't be imported, claims a scheme that another one claims, or breaks the SPI."""

    origin = ErrorOrigin.PLUGIN


# -- the caller's input ----------------------------------------------------------------------------


class InvalidArgument(TenureError):
    """An argument of a call is outside what the API accepts."""

    origin = ErrorOrigin.CALLER


class InvalidKey(InvalidArgument):
    """A key is empty, too long, has a NUL or isn't valid text."""


class LimitExceeded(TenureError):
    """A value, a transaction or a ttl is beyond what the opened store takes. It was not sent."""

    origin = ErrorOrigin.CALLER


class Unsupported(TenureError):
    """The opened store can't honour this operation or option; it declared so in its capabilities."""

    origin = ErrorOrigin.CALLER


# -- outcomes of operations ------------------------------------------------------------------------


class Conflict(TenureError):
    """A guard of the transaction didn't hold: nothing was changed, not even the revision.

    ``keys`` are those whose guard didn't hold, or all that had one where the store doesn't tell which; the message
    begins with them. ``revision`` is the store's revision at which the guards were checked, 0 where the store can't
    tell. A plugin names keys here and not in ``reason``: core gives them back as the caller named them.
    """

    origin = ErrorOrigin.CONTENTION
    retry = RetryAdvice.READ_FIRST

    def __init__(self, reason: str, *, keys: Iterable[str] = (), revision: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.keys = tuple(dict.fromkeys(keys))
        self.revision = revision

    def __str__(self) -> str:
        return f"{', '.join(map(repr, self.keys))}: {self.reason}" if self.keys else self.reason


class OutcomeUnknown(TenureError):
    """A write was sent and no answer came. It was applied at most once, now or within a moment, or never."""

    origin = ErrorOrigin.NETWORK
    retry = RetryAdvice.READ_FIRST


class Unavailable(TenureError):
    """The store can't be reached or can't serve now. A write that got this was surely not applied."""

    origin = ErrorOrigin.NETWORK
    retry = RetryAdvice.SAFE


class DeadlineExceeded(Unavailable):
    """The call's time ran out before an answer. A write that got this was surely not applied."""


class PartiallyApplied(TenureError):
    """A call of several transactions stopped between two of them. ``deleted`` keys are gone for good; ``__cause__`` is
    the error that stopped it. Calling again goes on with what is left."""

    origin = ErrorOrigin.NETWORK
    retry = RetryAdvice.SAFE

    def __init__(self, message: str, *, deleted: int) -> None:
        super().__init__(message)
        self.deleted = deleted


class AuthenticationFailed(TenureError):
    """The store doesn't accept the user name, password, token or certificate."""

    origin = ErrorOrigin.CONFIGURATION


class PermissionDenied(TenureError):
    """The store knows who asks and forbids this operation."""

    origin = ErrorOrigin.CONFIGURATION


class StoreFull(TenureError):
    """The store has no room left (disk, memory, quota): the write was refused."""

    retry = RetryAdvice.SAFE


class StoreCorrupted(TenureError):
    """What the store holds can't be read as what it should be. Nothing was changed."""


# -- leases and watches ----------------------------------------------------------------------------


class LeaseNotFound(TenureError):
    """No lease with this id is alive in the store: it ended, was revoked or never was."""

    origin = ErrorOrigin.CALLER


class LeaseLost(TenureError):
    """The lease's holder can no longer count on it: its time ran out or the store says it is gone."""

    origin = ErrorOrigin.NETWORK


class Compacted(TenureError):
    """The asked-for revision is no longer in the store's history (or not of this history at all).

    ``oldest_revision`` is the oldest revision that can still be asked for, 0 where the store can't tell.
    """

    origin = ErrorOrigin.CALLER

    def __init__(self, message: str, *, oldest_revision: int = 0) -> None:
        super().__init__(message)
        self.oldest_revision = oldest_revision


class StoreClosed(TenureError):
    """The store, or the watch or lease that belongs to it, was closed."""

    origin = ErrorOrigin.CALLER


class UsedAfterFork(StoreClosed):
    """The store was opened by the parent of this process; connections can't be shared over a fork."""


# -- registry --------------------------------------------------------------------------------------


class RegistryError(TenureError):
    """Root of the registry's own errors."""

    origin = ErrorOrigin.CALLER


class AlreadyRegistered(RegistryError):
    """Another live registration holds the same identity."""

    origin = ErrorOrigin.CONTENTION
    retry = RetryAdvice.SAFE


class RegistrationReplaced(AlreadyRegistered):
    """Another registration has replaced the entry of this one, whose lease was alive."""


class ServiceNotFound(RegistryError):
    """No instance of the service is known to the cache."""

    retry = RetryAdvice.SAFE


class NoInstanceAvailable(ServiceNotFound):
    """Instances of the service are known, but none passes the filter, or all are draining."""


class MalformedEntry(RegistryError):
    """What is stored under the registry's prefix is no instance. The message says why."""
