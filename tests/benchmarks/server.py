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

MANY, MANY_QUICKLY = (100, 2_000, 20_000), (2_000,)
"""Numbers of keys that are listed, the smallest first."""
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


@dataclass(frozen=True)
class ManyTargets:
    """The largest ratios allowed for many keys; ``None``: there is no target."""

    listed: float | None = None
    watched: float | None = None


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
    bounds: dict[str, Callable[[], object]] | None = None,
) -> Iterator[Result]:
    """Get, put and compare-and-set. ``bounds``: by these names what a client does at least for the same guarantees."""
    said, least = notes or {}, bounds or {}
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
            f"{scheme} {name}",
            calls(ours),
            calls(theirs),
            target=target,
            seconds=seconds,
            note=said.get(name, ""),
            processor=True,
            bound=calls(least[name]) if name in least else None,
        )


def compare_many(
    scheme: str,
    store: tenure.Store,
    raw: Raw,
    *,
    quick: bool,
    rounds: int = 7,
    sizes: tuple[int, ...] = MANY,
    notes: dict[str, str] | None = None,
    targets: ManyTargets | None = None,
    fill: Callable[[list[str]], None] | None = None,
    list_bound: Callable[[], int] | None = None,
) -> Iterator[Result]:
    """Many keys listed, and a watch on them opened until it is in sync, at each size.

    ``fill`` gives a raw client that has a place of its own the same keys. ``list_bound`` lists as a client does at
    least for the same items.
    """
    said, most = notes or {}, targets or ManyTargets()
    before = 0
    for many in MANY_QUICKLY if quick else sizes:
        keys = [f"{MANY_ROOT}{number:05}" for number in range(before, many)]
        before = many
        _fill(store, keys)
        if fill is not None:
            fill(keys)
        listed = _counted(many, lambda: len(store.list(MANY_ROOT).items))
        watched = _watch(many, store)
        for name, ours, theirs, target, least in (
            ("listed", listed, raw.list, most.listed, list_bound),
            ("watched", watched, raw.watch, most.watched, None),
        ):
            yield compare(
                f"{scheme} {many} keys {name}",
                ours,
                _counted(many, theirs),
                target=target,
                seconds=0.5 if quick else 3.0,
                number=max(1, 2_000 // many),
                rounds=rounds,
                note=said.get(name, ""),
                processor=True,
                bound=None if least is None else _counted(many, least),
            )


def _fill(store: tenure.Store, keys: list[str]) -> None:
    step = min(_AT_ONCE, store.capabilities.max_transaction_operations)
    for start in range(0, len(keys), step):
        transaction = store.transaction()
        for key in keys[start : start + step]:
            transaction.put(key, VALUE)
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
