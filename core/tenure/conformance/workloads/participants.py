"""Clients that use recipes: a store with a session that no rule outlasts, and what an error of theirs means."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from tenure._client.store import Store
from tenure.conformance.harness.assertions import Checks
from tenure.conformance.harness.context import RuleContext
from tenure.conformance.workloads.leases import seconds_of_a_put
from tenure.errors import DeadlineExceeded, OutcomeUnknown, PluginError, TenureError, Unavailable, WaitTimeout
from tenure.recipes.session import Session

IN_VAIN = (WaitTimeout, OutcomeUnknown, Unavailable)
"""How a wait in vain ends: on a slow store the time may be up before an answer comes."""

_MARGIN = 0.1
"""The part of its TTL by which a holder gives up before the store does, as in every session."""


@dataclass(frozen=True, slots=True)
class Client:
    """One client of the store, as an application has one.

    Attributes:
        store: its connection.
        session: what its recipes hold on.
    """

    store: Store
    session: Session

    @staticmethod
    def connected(context: RuleContext) -> Client:
        """Return one more client, whose session lives until the rule ends."""
        store = context.connect()
        return Client(store, context.make(Session.open, store, ttl=context.long_ttl))


def unrefreshed_session(context: RuleContext, store: Store, ttl: float) -> Session:
    """Return a session that nothing refreshes, as that of a client which is paused or cut off right after the grant."""
    session = Session()
    lease = store.lease(ttl, keep_alive=False, margin=min(1.0, ttl * _MARGIN), on_lost=session._on_lost)
    return context.face.session(session, lease)


def in_vain(context: RuleContext) -> float:
    """Return seconds for a wait that ends in vain, in which a participant can ask for what it waits for."""
    return max(0.1, 4 * seconds_of_a_put(context))


@contextlib.contextmanager
def without_error(check: Checks, did: str, expected: str) -> Iterator[None]:
    """State that the recipe in the block failed. Waits have a timeout, so one that never ends is stated, too.

    That the store can't be reached, or the plugin itself failed, is another matter, and raised as it is.
    """
    try:
        yield
    except TenureError as exc:
        unreachable = isinstance(exc, Unavailable) and not isinstance(exc, DeadlineExceeded)
        if unreachable or isinstance(exc, OutcomeUnknown | PluginError):
            raise
        raise check.fail(did, expected=expected, seen=f"{type(exc).__name__}: {exc}") from exc
