"""What the groups for real servers share: where the server comes from, the three calls, and lists and watches of many.

A server is the one of ``TENURE_<SCHEME>_URL`` (one that needs no login, for the raw client), or a container.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from measure import Result, Slice, calls, compare

import tenure

MANY, MANY_QUICKLY = 10_000, 2_000
ROOT = "benchmark/"
KEY = f"{ROOT}key"
MANY_ROOT = f"{ROOT}many/"
VALUE = b"x" * 100
_AT_ONCE = 200


class Raw(Protocol):
    """The raw client: what it does for the same result. It may read the keys that were put through Tenure."""

    def get(self) -> object:
        """Read ``KEY``."""

    def put(self) -> object:
        """Write a key of its own."""

    def replace(self) -> object:
        """Compare-and-set on that key, with what the last ``put`` or ``replace`` answered."""

    def list(self) -> int:
        """Read everything under ``MANY_ROOT``; answers how many keys there are."""

    def watch(self) -> int:
        """The same, and so that every later change will be noticed."""


@dataclass(frozen=True)
class Targets:
    """The largest ratios allowed."""

    get: float
    put: float
    replace: float


def with_server(
    scheme: str,
    container: Callable[[], AbstractContextManager[Any]],
    measure: Callable[[tenure.Store, contextlib.ExitStack], Iterator[Result]],
) -> Iterator[Result]:
    """What ``measure`` finds; one line that says so if there is no server or no client library."""
    variable = f"TENURE_{scheme.upper()}_URL"
    with contextlib.ExitStack() as stack:
        try:
            given = os.environ.get(variable)
            url = given or str(stack.enter_context(container()).url)
            store = stack.enter_context(tenure.connect(url))
        except Exception as exc:  # noqa: BLE001 - whatever keeps the engine from running, the other groups can be measured
            yield Result(scheme, "NOT MEASURED", note=f"no server: set {variable} ({type(exc).__name__}: {exc})")
            return
        if given:
            stack.callback(store.delete_prefix, ROOT)
            store.delete_prefix(ROOT)
        yield from measure(store, stack)


def compare_calls(
    scheme: str,
    store: tenure.Store,
    raw: Raw,
    targets: Targets,
    *,
    seconds: float,
    notes: dict[str, str] | None = None,
) -> Iterator[Result]:
    """Get, put and compare-and-set."""
    said = notes or {}
    revision = store.put(KEY, VALUE).revision

    def replace() -> None:
        nonlocal revision
        revision = store.put_if_unchanged(KEY, VALUE, revision=revision).revision

    raw.put()
    pairs: dict[str, tuple[Callable[[], object], Callable[[], object], float]] = {
        "get": (lambda: store.get(KEY), raw.get, targets.get),
        # Before the put, which changes the revision that it compares with.
        "compare-and-set": (replace, raw.replace, targets.replace),
        "put": (lambda: store.put(KEY, VALUE), raw.put, targets.put),
    }
    for name, (ours, theirs, target) in pairs.items():
        yield compare(
            f"{scheme} {name}", calls(ours), calls(theirs), target=target, seconds=seconds, note=said.get(name, "")
        )


def compare_many(
    scheme: str, store: tenure.Store, raw: Raw, *, quick: bool, rounds: int = 3, notes: dict[str, str] | None = None
) -> Iterator[Result]:
    """Many keys listed, and a watch on them opened until it is in sync. Reported without a target."""
    said = notes or {}
    many = MANY_QUICKLY if quick else MANY
    _fill(store, many)
    listed = _counted(many, lambda: len(store.list(MANY_ROOT).items))
    watched = _watch(many, store)
    for name, ours, theirs in (("listed", listed, raw.list), ("watched", watched, raw.watch)):
        yield compare(
            f"{scheme} {many} keys {name}",
            ours,
            _counted(many, theirs),
            target=None,
            seconds=0.5 if quick else 3.0,
            number=1,
            rounds=rounds,
            note=said.get(name, ""),
        )


def _fill(store: tenure.Store, many: int) -> None:
    step = min(_AT_ONCE, store.capabilities.max_transaction_operations)
    for start in range(0, many, step):
        transaction = store.transaction()
        for number in range(start, min(start + step, many)):
            transaction.put(f"{MANY_ROOT}{number:05}", VALUE)
        transaction.commit()


def _counted(many: int, read: Callable[[], int]) -> Slice:
    """Slices of a read that must find everything."""

    def checked() -> None:
        found = read()
        assert found == many, f"{found} of {many} keys"

    return calls(checked)


def _watch(many: int, store: tenure.Store) -> Slice:
    """Slices of opening a watch. Closing it takes no part in the time."""

    def run(number: int) -> float:
        took = 0.0
        for _ in range(number):
            started, found = time.perf_counter(), 0
            with store.watch(MANY_ROOT) as watch:
                for batch in watch:
                    found += len(batch.events)
                    if batch.type is tenure.BatchType.SYNCED:
                        break
                took += time.perf_counter() - started
            assert found == many, f"{found} of {many} keys"
        return took

    return run
