"""Rules about wall clocks that are wrong: no lease may depend on them."""

from __future__ import annotations

import time

from tenure._client.store import Store
from tenure.conformance.fault_injection.client_process import ClientProcess
from tenure.conformance.fault_injection.faults import RECOVERY, works_again
from tenure.conformance.harness.context import RuleContext
from tenure.conformance.harness.rule import Rules, parallel_safe, requires_capability, requires_control
from tenure.conformance.workloads.leases import CLOCK_TOLERANCE

_AHEAD = 3600.0
_JUMP = 120.0
"""Seconds that ``advance_clock`` moves the server's clock."""
_CLOCKS = 0.02


class ClockRules(Rules, area="faults"):
    """Clients and servers whose wall clocks are wrong."""

    @parallel_safe
    @requires_capability("multi_process")
    def test_faults_a_client_whose_clock_is_ahead_ends_no_lease(self, context: RuleContext) -> None:
        """A client whose wall clock is an hour ahead sees living leases' keys and ends none; its own live their TTL."""
        store = context.store
        lease = store.lease(context.long_ttl)
        item = store.put("held", b"here", lease=lease)
        with ClientProcess(context, clock_ahead=_AHEAD) as client:
            for _ in range(3):
                seen = client.ask("read", key="held")
                context.check.equal(seen.get("value"), "here", "what a client sees whose clock is an hour ahead")
            # What looks for ended leases may do so only when a lease is granted, or when something is written.
            sent = time.monotonic()
            own = client.ask("leave", key="own", value="own", ttl=context.short_ttl)
            answered = time.monotonic()
            context.check.true("error" not in own, "put a key on a lease", expected="an answer", seen=own)
            context.check.equal(client.ask("read", key="held").get("value"), "here", "the same after it took a lease")
            seen_here = store.get("held")
            context.check.equal(
                seen_here and seen_here.mod_revision, item.revision, "the key of a lease while such a client works"
            )
            lease.refresh()
            limit = answered - sent + own["max_lifetime_after_refresh"] + CLOCK_TOLERANCE
            context.check.eventually(
                lambda: store.get("own"),
                lambda found: found is None,
                "let the lease of a client end whose clock is an hour ahead",
                expected="its key gone",
                within=limit + RECOVERY,
            )
            lived = time.monotonic() - sent
            context.check.true(
                lived >= own["ttl"] - _CLOCKS,
                "let the lease of a client end whose clock is an hour ahead",
                expected=f"a life of at least {own['ttl']:g} s",
                seen=f"{lived:.2f} s",
            )
        context.check.true(store.get("held") is not None, "closed that client", expected="the other's key", seen=None)

    @requires_control("advance_clock", "reset_clock")
    def test_faults_a_server_whose_clock_jumps_ends_no_lease(self, context: RuleContext) -> None:
        """When the server's wall clock jumps ahead and back, living leases keep their keys, and others end in time."""
        store = context.store
        lease = store.lease(context.long_ttl)
        revision = store.put("held", b"here", lease=lease).revision
        with context.evidence.fault("clock moved") as window:
            window.what = "times that a control moved it"
            try:
                before = _ahead_of_here(store)
                context.controls.do("advance_clock")
                works_again(context, store)
                after = _ahead_of_here(store)
                # Of a server that reports no clock there is only the control's word.
                window.effects = int(before is None or after is None or after - before > _JUMP / 2)
                if not window.effects:
                    return
                left = store.lease(context.short_ttl, keep_alive=False)
                store.put("left", b"", lease=left)
                found = store.get("held", timeout=RECOVERY)
                context.check.equal(
                    found and found.mod_revision, revision, "the key of a lease after the server's clock jumped ahead"
                )
                lease.refresh(timeout=RECOVERY)
            finally:
                context.controls.do("reset_clock")
        works_again(context, store)
        found = store.get("held", timeout=RECOVERY)
        context.check.equal(found and found.mod_revision, revision, "the key of a lease after the clock jumped back")
        context.check.eventually(
            lambda: store.get("left", timeout=RECOVERY),
            lambda item: item is None,
            "let a lease end that was granted before the clock jumped back",
            expected="its key gone",
            within=left.max_lifetime_after_refresh + CLOCK_TOLERANCE + RECOVERY,
        )


def _ahead_of_here(store: Store) -> float | None:
    """Seconds that the server's wall clock is ahead of this program's; ``None`` if it reports none."""
    reported = store.server_info(timeout=RECOVERY).clock
    return None if reported is None else reported - time.time()
