"""Every error that Tenure raises: one root, and each class states its cause, what is certain and what to do.

Driver exceptions never reach the caller. Each plugin translates its client's errors into these in one
place (its ``errors.py``), with ``raise ... from exc``, so that the traceback keeps the original.

A write ends in one of three ways, and the type of the error shows which:

* it returned: **done**;
* :class:`OutcomeUnknown`: **unknown**, the write was sent and no answer came; it is applied at most once, now,
  within a moment, or never;
* any other error of this module: **refused**, nothing was changed and nothing will be.

One call makes several writes: ``delete_prefix``. If an error stops it between two of them, the call raises
:class:`PartiallyApplied`, which holds the number of keys already deleted.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import ClassVar


class ErrorOrigin(StrEnum):
    """Name what has to change before the call can succeed.

    Attributes:
        CALLER: the program, which passed an argument or made a call that the API refuses.
        CONFIGURATION: the operator's settings, such as a URL, credentials or permissions.
        CONTENTION: another client changed the same keys first.
        STORE: the store itself, such as a full disk or damaged data.
        NETWORK: the store or the connection to it.
        PLUGIN: an installed plugin.
    """

    CALLER = "caller"
    CONFIGURATION = "configuration"
    CONTENTION = "contention"
    STORE = "store"
    NETWORK = "network"
    PLUGIN = "plugin"


class RetryAdvice(StrEnum):
    """State whether the same call may be made again after an error.

    Attributes:
        SAFE: the same call may be made again without harm, and may succeed later.
        READ_FIRST: read the keys first. Either they have changed, or the call may have been applied.
        USELESS: nothing was applied, and the same call will fail again.
    """

    SAFE = "safe"
    READ_FIRST = "read_first"
    USELESS = "useless"


class TenureError(Exception):
    """Root of all errors that Tenure and its plugins raise.

    Cause: see the subclass; no error is of this class alone.
    Certain: nothing was applied, unless the error is :class:`OutcomeUnknown` or :class:`PartiallyApplied`.
    What to do: act on ``origin`` and ``retry``, which every subclass sets.

    Attributes:
        origin: what has to change before the call can succeed, an :class:`ErrorOrigin`.
        retry: whether the same call may be made again, a :class:`RetryAdvice`.
    """

    origin: ClassVar[ErrorOrigin] = ErrorOrigin.STORE
    retry: ClassVar[RetryAdvice] = RetryAdvice.USELESS


# -- configuration and plugins ---------------------------------------------------------------------


class ConfigError(TenureError):
    """A URL, an option or an argument of ``connect`` is wrong.

    Cause: an unknown option, a value of the wrong type or out of range, a missing client library.
    Certain: no store was opened and nothing was sent.
    What to do: correct what the message names; it lists the choices.
    """

    origin = ErrorOrigin.CONFIGURATION


class UnknownScheme(ConfigError):
    """No installed plugin serves the URL's scheme.

    Cause: the scheme is misspelled, or the plugin's distribution is not installed.
    Certain: no store was opened and nothing was sent.
    What to do: correct the scheme, or install the distribution that serves it; the message names both.
    """


class PluginError(TenureError):
    """A plugin is broken.

    Cause: the plugin cannot be imported, claims a scheme that another one claims, or breaks a rule of the SPI.
    Certain: the call changed nothing. A plugin that fails during a write causes :class:`OutcomeUnknown` instead.
    What to do: uninstall or update the plugin that the message names, or report the traceback to its author.
    """

    origin = ErrorOrigin.PLUGIN


# -- the caller's input ----------------------------------------------------------------------------


class InvalidArgument(TenureError):
    """An argument of a call is outside what the API accepts.

    Cause: the wrong type, a number out of range, or arguments that exclude each other.
    Certain: nothing was sent.
    What to do: correct the argument that the message names.
    """

    origin = ErrorOrigin.CALLER


class InvalidKey(InvalidArgument):
    """A key or prefix is not allowed.

    Cause: the key is empty, has more than 1,024 bytes of UTF-8, contains NUL, or is not valid Unicode.
    Certain: nothing was sent.
    What to do: choose another key. A prefix may be empty; a key may not.
    """


class LimitExceeded(TenureError):
    """A value, a transaction or a TTL is beyond a limit of the opened store.

    Cause: a limit that ``store.capabilities`` declares, or one that only the server knows.
    Certain: nothing was applied.
    What to do: split the transaction, keep large data elsewhere, or ask for a shorter TTL. The message has the limit.
    """

    origin = ErrorOrigin.CALLER


class Unsupported(TenureError):
    """The opened store cannot honour this operation or option.

    Cause: ``store.capabilities`` does not declare what the call needs.
    Certain: nothing was applied, and no option was silently ignored.
    What to do: check ``store.capabilities``, require it with ``connect(url, require=[...])``, or use another store.
    """

    origin = ErrorOrigin.CALLER


# -- outcomes of operations ------------------------------------------------------------------------


class Conflict(TenureError):
    """A precondition of the transaction did not hold.

    Cause: another client created, changed or deleted a key first.
    Certain: nothing was changed, not even the store's revision.
    What to do: read the keys again, decide again, and commit with their new revisions.

    A plugin names keys in ``keys`` and not in ``reason``: core gives them back without the namespace.

    Args:
        reason: what was found instead, as text.
        keys: see ``keys`` below; duplicates are dropped.
        revision: see ``revision`` below.

    Attributes:
        reason: what was found instead, without the keys.
        keys: the keys whose precondition did not hold. If the store does not report them, all keys that had one. The
            message begins with them.
        revision: the store's revision at which the preconditions were checked, 0 if the store does not report it.
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
    """A write was sent and no answer came.

    Cause: the connection broke, the time ran out or the plugin failed after the write was sent.
    Certain: the write is applied at most once: now, within a moment, or never. Core has not repeated it.
    What to do: read the key, then decide. A write with a precondition on a revision may be sent again safely.
    """

    origin = ErrorOrigin.NETWORK
    retry = RetryAdvice.READ_FIRST


class Unavailable(TenureError):
    """The store cannot be reached, or cannot serve calls now.

    Cause: no connection, no leader, a server that is starting or overloaded.
    Certain: nothing was applied, and nothing will be.
    What to do: try again later, or give a longer timeout. Core has already tried again until the call's timeout.
    """

    origin = ErrorOrigin.NETWORK
    retry = RetryAdvice.SAFE


class DeadlineExceeded(Unavailable):
    """The call's timeout ran out before an answer came.

    Cause: a slow or silent server, or a timeout that is too short.
    Certain: nothing was applied, and nothing will be. A write that may be applied raises :class:`OutcomeUnknown`.
    What to do: give a longer timeout, or try again later.
    """


class CallInterrupted(Unavailable):
    """A signal handler or a finalizer made the call in the middle of another call of the same thread.

    Cause: the interrupted call holds what this one needs, and can't continue before the handler returns.
    Certain: nothing was applied, and nothing will be. The interrupted call continues afterwards.
    What to do: set a flag in the handler and call after it, or call from another thread.
    """

    origin = ErrorOrigin.CALLER


class PartiallyApplied(TenureError):
    """A call of several transactions stopped between two of them.

    Cause: the error in ``__cause__``.
    Certain: the transactions before the error are applied, and they deleted ``deleted`` keys. If ``__cause__`` is
    :class:`OutcomeUnknown`, one more transaction may be applied.
    What to do: make the same call again; it deletes the keys that are left.

    Args:
        message: the action, the count and the cause, as text.
        deleted: see ``deleted`` below.

    Attributes:
        deleted: the number of keys that are certainly deleted.
    """

    origin = ErrorOrigin.NETWORK
    retry = RetryAdvice.SAFE

    def __init__(self, message: str, *, deleted: int) -> None:
        super().__init__(message)
        self.deleted = deleted


class AuthenticationFailed(TenureError):
    """The store does not accept the user name, password, token or certificate.

    Cause: wrong, missing, expired or revoked credentials.
    Certain: nothing was applied.
    What to do: correct the credentials in the URL, or let the operator renew them.
    """

    origin = ErrorOrigin.CONFIGURATION


class PermissionDenied(TenureError):
    """The store knows the user and forbids this operation.

    Cause: the user lacks a right on these keys or this command.
    Certain: nothing was applied.
    What to do: let the operator grant the right, or connect as another user.
    """

    origin = ErrorOrigin.CONFIGURATION


class StoreFull(TenureError):
    """The store has no room left.

    Cause: a full disk, a memory limit or a quota.
    Certain: the write was refused and nothing was applied.
    What to do: let the operator free room, then try again. Reads, deletes and lease refreshes may still work.
    """

    retry = RetryAdvice.SAFE


class StoreCorrupted(TenureError):
    """The store holds data that cannot be read as Tenure's.

    Cause: another program wrote there, or the data is damaged.
    Certain: the call changed nothing.
    What to do: check that the URL names the right store, then repair the data or restore a backup.
    """


# -- leases and watches ----------------------------------------------------------------------------


class LeaseNotFound(TenureError):
    """No lease with this id is alive in the store.

    Cause: the lease expired, was revoked or never existed.
    Certain: nothing was applied. An id is never alive again.
    What to do: take a new lease, then write again.
    """

    origin = ErrorOrigin.CALLER


class LeaseLost(TenureError):
    """The holder can no longer rely on its lease.

    Cause: the TTL passed without a successful refresh, the store no longer has the lease, or the lease was revoked. Or
    less time is left than ``ensure_valid(min_remaining=...)`` requires.
    Certain: the call applied nothing. A lease that is LOST or REVOKED never comes back; its keys may exist a little
    longer.
    What to do: stop the work that the lease protects, then take a new lease.
    """

    origin = ErrorOrigin.NETWORK


class Compacted(TenureError):
    """The requested revision is not in the store's history.

    Cause: the store has dropped that revision, or the revision belongs to another history (the store lost its data).
    Certain: no change was skipped silently.
    What to do: read the present state, then watch from its revision; or watch without ``after``.

    Args:
        message: the revision and the reason, as text.
        oldest_revision: see ``oldest_revision`` below.

    Attributes:
        oldest_revision: the oldest revision that can still be requested, 0 if the store does not report it.
    """

    origin = ErrorOrigin.CALLER

    def __init__(self, message: str, *, oldest_revision: int = 0) -> None:
        super().__init__(message)
        self.oldest_revision = oldest_revision


class HistoryReplaced(Compacted):
    """A revision belongs to a history that the store no longer has.

    Cause: the store's data were lost, or replaced by a backup, after the revision was read.
    Certain: nothing was applied and no change was skipped silently. The revision may stand for another change now.
    What to do: read the present state, then watch from its revision; or watch without ``after``.
    """


# -- recipes ---------------------------------------------------------------------------------------


class WaitTimeout(TenureError):
    """The time to wait for a lock, an election or another recipe is up.

    Cause: others held it, or what was waited for did not happen.
    Certain: nothing is held. A key that the acquisition put is removed within a moment.
    What to do: try again, or give a longer timeout.
    """

    origin = ErrorOrigin.CONTENTION
    retry = RetryAdvice.SAFE


class AlreadyHeld(TenureError):
    """The same object was asked to acquire what it holds already, or is acquiring.

    Cause: two threads share the object, or a release is missing.
    Certain: nothing was changed; what is held stays held.
    What to do: use an object per participant, or ``reentrant=True`` where the recipe has it.
    """

    origin = ErrorOrigin.CALLER


class StoreClosed(TenureError):
    """The store is closed, or the watch or registry that belongs to it.

    Cause: ``close()`` was called, by this thread or another one.
    Certain: nothing was applied.
    What to do: call ``connect`` again.
    """

    origin = ErrorOrigin.CALLER


class UsedAfterFork(StoreClosed):
    """The object belongs to the parent of this process.

    Cause: the process forked after the store was opened; connections cannot be shared over a fork.
    Certain: nothing was sent, and the parent's connection is untouched.
    What to do: call ``connect`` again in the child.
    """


# -- registry --------------------------------------------------------------------------------------


class RegistryError(TenureError):
    """Root of the registry's own errors.

    Cause: see the subclass; of this class alone, a call that the registry's present state does not allow.
    Certain: nothing was applied.
    What to do: follow the message.
    """

    origin = ErrorOrigin.CALLER


class AlreadyRegistered(RegistryError):
    """Another live registration holds the same identity.

    Cause: another process registered the same service and id, or a predecessor's lease has not expired yet.
    Certain: the other entry was not changed.
    What to do: wait for the predecessor's lease with ``wait=<seconds>``, or choose another id.
    """

    origin = ErrorOrigin.CONTENTION
    retry = RetryAdvice.SAFE


class RegistrationReplaced(AlreadyRegistered):
    """Another registration has replaced this registry's entry while its lease was alive.

    Cause: two processes were configured with the same service and id.
    Certain: this registry no longer writes the entry; the other one's entry was not changed.
    What to do: give each process an id of its own, then register again.
    """


class Unhealthy(RegistryError):
    """An instance isn't healthy, by the probe that its registry was given.

    Cause: the probe failed; the message has the reason. Probes raise it, and ``register`` if the instance did not
    become healthy in time.
    Certain: nothing was registered.
    What to do: look at the service, or give it more time by the check's ``start_timeout``.
    """

    origin = ErrorOrigin.CONFIGURATION
    retry = RetryAdvice.SAFE


class ServiceNotFound(RegistryError):
    """The registry's cache knows no instance of the service.

    Cause: no instance is registered, or the cache has not received it yet.
    Certain: nothing was changed; the answer is as old as the registry's ``staleness``.
    What to do: try again, or wait for instances with ``wait_for``.
    """

    retry = RetryAdvice.SAFE


class NoInstanceAvailable(ServiceNotFound):
    """Instances of the service are known, but none may be used.

    Cause: no instance passes the filter, or all of them are draining or not ready.
    Certain: nothing was changed; the answer is as old as the registry's ``staleness``.
    What to do: widen the filter, or wait for instances with ``wait_for``.
    """


class MalformedEntry(RegistryError):
    """An entry under the registry's prefix is not an instance.

    Cause: another program wrote the entry, or its JSON is damaged. The message has the reason.
    Certain: nothing was changed, and other entries are not affected.
    What to do: delete or correct the entry.
    """
