"""What a shell may complete: names from the configuration, and from the store within a second, or nothing.

A shell completes while somebody types. So each function answers in bounded time and never fails: a store that is away,
a wrong URL or a missing right completes nothing, and nothing is printed.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from tenure._client.store import Store

VARIABLE = "_TENURE_COMPLETE"
"""The variable by which the shell's function tells that it asks for completions."""
PATIENCE = "TENURE_COMPLETION_TIMEOUT"
"""The variable with the seconds for the store's answer."""
_ANSWER = 1.0
_REST = 1.5
"""Seconds for everything else: loading, and writing the answer."""
_MOST = 200
_MOST_INSTANCES = 5_000


def given_up() -> float:
    """Return the seconds after which the process that completes ends, whatever it does."""
    return _patience() + _REST


def _patience() -> float:
    try:
        seconds = float(os.environ.get(PATIENCE, ""))
    except ValueError:
        return _ANSWER
    return seconds if 0 < seconds < threading.TIMEOUT_MAX else _ANSWER


def service_names(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Services of the registry that have an instance."""
    name = getattr(ctx.obj, "name", "default")

    def read(store: Store) -> Iterable[str]:
        from tenure.registry import RegistryConfig

        prefix = RegistryConfig(name).key_prefix
        keys = store.list(prefix + incomplete, keys_only=True, limit=_MOST_INSTANCES).keys
        return {key[len(prefix) :].rpartition("/")[0] for key in keys}

    return _asked(ctx, read)


def key_names(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Keys that begin so."""
    return _asked(ctx, lambda store: store.list(incomplete, keys_only=True, limit=_MOST).keys)


def lock_names(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Locks, semaphores and elections that somebody holds or waits for."""

    def read(store: Store) -> Iterable[str]:
        from tenure.recipes.survey import survey

        return {place.name for place in survey(store) if place.name.startswith(incomplete)}

    return _asked(ctx, read)


def lease_ids(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Leases of a store that can list them."""
    return _asked(ctx, lambda store: [each.lease_id for each in store.leases() if each.lease_id.startswith(incomplete)])


def profile_names(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Profiles of the configuration file."""
    from tenure.cli import profiles

    try:
        return sorted(
            name for name in profiles.read(ctx.meta.get("tenure.config")).profiles if name.startswith(incomplete)
        )
    except Exception:  # noqa: BLE001 - whatever is wrong with the file, a shell completes nothing
        return []


def schemes(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Schemes of installed plugins."""
    from tenure._plugins import discovery

    return sorted({claim.scheme for claim in discovery.claims() if claim.scheme.startswith(incomplete)})


def store_urls(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Beginnings of URLs."""
    return [f"{scheme}://" for scheme in schemes(ctx, _param, "") if f"{scheme}://".startswith(incomplete)]


def areas(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Areas of the conformance suite."""
    return sorted({rule.area for rule in _rules() if rule.area.startswith(incomplete)})


def rules(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Rules of the conformance suite."""
    return sorted(rule.id for rule in _rules() if rule.id.startswith(incomplete))


def _rules() -> Iterable[Any]:
    try:
        from tenure.conformance.runner import runner

        return runner.all_rules("sync")
    except Exception:  # noqa: BLE001 - the suite's libraries may be missing
        return ()


def _asked(ctx: click.Context, read: Callable[[Store], Iterable[str]]) -> list[str]:
    """Open the store of the command line and read; what fails or takes too long completes nothing."""
    answer: queue.SimpleQueue[list[str]] = queue.SimpleQueue()

    def ask() -> None:
        try:
            options = replace(ctx.obj, timeout=min(_patience(), ctx.obj.timeout), quiet=True)
            with options.connect() as store:
                answer.put(sorted(read(store)))
        except BaseException:  # noqa: BLE001 - see the head of this module
            answer.put([])

    threading.Thread(target=ask, name="tenure-completion", daemon=True).start()
    try:
        return answer.get(timeout=_patience())
    except queue.Empty:
        return []
