"""Tries each use of a store by itself, so that a right that is missing is named with what it is for.

All keys lie below a prefix of their own and hang on a lease, so they go away whatever happens. A use that fails doesn't
keep the others from being tried.
"""

from __future__ import annotations

import statistics
import uuid
from collections.abc import Callable, Mapping
from typing import TypeVar

from tenure._client.store import Store
from tenure._runtime.deadline import monotonic
from tenure._text import seconds
from tenure.errors import AuthenticationFailed, DeadlineExceeded, PermissionDenied, TenureError
from tenure.leases.lease import Lease
from tenure.spi.diagnosis import Finding, Use, Verdict
from tenure.watch.engine import Watch
from tenure.watch.events import Batch, BatchType

T = TypeVar("T")

SCRATCH = "tenure-doctor-"
_SCRATCH_TTL = 30.0


class Trials:
    """Tries a store. ``findings`` has the results; latencies are medians in seconds, ``None`` if not measured.

    Args:
        store: the opened store.
        rights: what each use needs, for the advice.
        samples: gets and puts to time.
        read_only: write nothing.
        prefix: text that all keys begin with, for a user who may only use such keys.
    """

    def __init__(
        self, store: Store, rights: Mapping[Use, str], *, samples: int, read_only: bool, prefix: str = ""
    ) -> None:
        self._store = store
        self._rights = rights
        self._samples = samples
        self._read_only = read_only
        self._prefix = f"{prefix}{SCRATCH}{uuid.uuid4().hex}/"
        self._lists = False
        self.findings: list[Finding] = []
        self.get_seconds: float | None = None
        self.put_seconds: float | None = None

    def run(self) -> None:
        """Try everything once."""
        self.get_seconds = self._try("read", Use.READ, "a get", self._time_gets)
        if self.get_seconds is not None:
            self._ok("read", f"a get takes {seconds(self.get_seconds)} (median of {self._samples})")
        self._lists = self._try("read", Use.READ, "a list", lambda: self._store.list(self._prefix)) is not None
        if self._read_only:
            if self._try("watch", Use.WATCH, "a watch", self._open_watch) is not None:
                self._ok("watch", "a watch shows the present state")
        else:
            self._write()
        if self._store.capabilities.list_leases:
            found = self._try("leases", Use.LIST_LEASES, "listing leases", self._store.leases)
            if found is not None:
                self._ok("leases", f"{len(found):,} alive")

    def _write(self) -> None:
        """Grant a lease, write with and without it, watch that, and see that the keys go with the lease."""
        ttl = max(_SCRATCH_TTL, self._store.capabilities.min_ttl)
        lease = self._try("lease", Use.LEASE, "granting a lease", lambda: self._store.lease(ttl, keep_alive=False))
        try:
            self.put_seconds = self._try("write", Use.WRITE, "a put", lambda: self._time_puts(lease))
            if self.put_seconds is not None:
                self._ok("write", f"a put takes {seconds(self.put_seconds)} (median of {self._samples})")
                told = self._try("watch", Use.WATCH, "a watch", lambda: self._watch_put(lease))
                if told is not None:
                    self._ok("watch", f"a watch shows a put after {seconds(told)}")
                self._try("write", Use.WRITE, "a delete", lambda: self._store.delete(f"{self._prefix}0"))
            elif self._try("watch", Use.WATCH, "a watch", self._open_watch) is not None:
                self._ok("watch", "a watch shows the present state")
            if lease is not None:
                self._end(lease)
        finally:
            if lease is None and self.put_seconds is not None:
                self._try("write", Use.WRITE, "removing the keys", lambda: self._store.delete_prefix(self._prefix))

    def _end(self, lease: Lease) -> None:
        """Refresh and revoke the lease, and see that its keys are gone, if they may be listed."""

        def refresh_and_revoke() -> bool:
            lease.refresh()
            lease.revoke()
            return True

        if self._try("lease", Use.LEASE, "refreshing and revoking a lease", refresh_and_revoke) is None:
            return
        left = self._try("read", Use.READ, "a list", lambda: self._store.list(self._prefix)) if self._lists else ()
        if left:
            text = f"{len(left)} of {self._samples} keys outlived the lease that was revoked"
            self.findings.append(Finding("lease", Verdict.FAILED, text, "report it to the plugin's author"))
        elif left is not None:
            self._ok("lease", "granted, refreshed, revoked" + ("; its keys are gone" if self._lists else ""))

    def _time_gets(self) -> float:
        return self._median(lambda i: self._store.get(f"{self._prefix}{i}"))

    def _time_puts(self, lease: Lease | None) -> float:
        return self._median(lambda i: self._store.put(f"{self._prefix}{i}", b"doctor", lease=lease))

    def _open_watch(self) -> bool:
        with self._store.watch(self._prefix) as watch:
            self._next(watch)
        return True

    def _watch_put(self, lease: Lease | None) -> float:
        """Seconds from a put to its event."""
        key = f"{self._prefix}watched"
        with self._store.watch(self._prefix) as watch:
            while self._next(watch).type is not BatchType.SYNCED:
                pass
            started = monotonic()
            self._store.put(key, b"doctor", lease=lease)
            while not any(event.key == key for event in self._next(watch).events):
                pass
            return monotonic() - started

    def _next(self, watch: Watch) -> Batch:
        batch = watch.next(timeout=self._store.timeout)
        if batch is None:
            raise DeadlineExceeded(f"nothing came within {self._store.timeout:g} s")
        return batch

    def _median(self, call: Callable[[int], object]) -> float:
        taken = []
        for i in range(self._samples):
            started = monotonic()
            call(i)
            taken.append(monotonic() - started)
        return statistics.median(taken)

    def _try(self, name: str, use: Use, what: str, call: Callable[[], T]) -> T | None:
        """Return what ``call`` returns; ``None`` and a finding if it fails."""
        try:
            return call()
        except (PermissionDenied, AuthenticationFailed) as exc:
            needed = self._rights.get(use)
            advice = f"to {use}, the user needs: {needed}" if needed else "give the user this right"
            self.findings.append(Finding(name, Verdict.FAILED, f"{what} is refused: {exc}", advice))
        except TenureError as exc:
            self.findings.append(Finding(name, Verdict.FAILED, f"{what} failed: {exc}"))
        return None

    def _ok(self, name: str, text: str) -> None:
        self.findings.append(Finding(name, Verdict.OK, text))
