"""Open store and registry for a directory: once, or again and again until the store answers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import tenure
from tenure.cli.options import Settings
from tenure.errors import Unavailable
from tenure.registry import Registry, RegistryConfig
from tenure_gateway.directory import Directory, Sight
from tenure_gateway.events import Teller

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 10.0


@contextlib.contextmanager
def followed(
    options: Settings,
    directory: Directory,
    teller: Teller,
    *,
    changed: Callable[[], object],
    pause: Callable[[float], bool] | None,
) -> Iterator[tenure.Store | None]:
    """Let the directory follow the registry of the options, for the ``with`` block.

    Args:
        options: the command's options.
        directory: becomes ready.
        teller: is called when the store can't be reached.
        changed: called after each change, see :meth:`Directory.follow`.
        pause: waits for some seconds, and returns whether to try again; ``None`` never tries again.

    Yields:
        The store; ``None`` if ``pause`` has ended the attempts.

    Raises:
        Unavailable: the store can't be reached, and there is no ``pause``.
        TenureError: the store refuses the connection, or the URL is wrong.
    """
    seconds, told = _FIRST_PAUSE, ""
    with ExitStack() as stack:
        while True:
            with ExitStack() as attempt:
                try:
                    store = attempt.enter_context(options.connect(observers=[directory]))
                    registry = attempt.enter_context(Registry(store, RegistryConfig(options.name)))
                except Unavailable as exc:
                    if pause is None:
                        raise
                    if type(exc).__name__ != told:
                        teller.tell("waiting", f"waiting for the store: {exc}", error=type(exc).__name__)
                    told = type(exc).__name__
                else:
                    directory.follow(registry, changed)
                    stack.push(attempt.pop_all())
                    break
            if not pause(seconds):
                yield None
                return
            seconds = min(2 * seconds, _LONGEST_PAUSE)
        yield store


class Remarks:
    """Reports once what a look at the directory shows: instances that stay, and those that were left out."""

    def __init__(self, teller: Teller) -> None:
        self._teller = teller
        self._last = Sight({})
        self._keys: frozenset[str] = frozenset()

    def tell(self, sight: Sight) -> None:
        """Report what is new in this look."""
        last, self._last = self._last, sight
        if sight.kept and sight.kept != last.kept:
            self._teller.tell(
                "kept",
                f"{len(sight.kept)} instances are gone since the outage and stay for a while, since they may register "
                "again",
                instances=sorted(sight.kept),
            )
        elif last.kept and not sight.kept:
            self._teller.tell("settled", "no instance stays because of the outage any more")
        self._tell_left_out(sight, last)

    def tell_keys(self, kept: frozenset[str]) -> None:
        """Report which keys stay with their last values."""
        if kept and kept != self._keys:
            named = ", ".join(sorted(kept))
            message = f"{len(kept)} keys are gone since the outage, and their last values stay for a while: {named}"
            self._teller.tell("kept", message, keys=sorted(kept))
        self._keys = kept

    def _tell_left_out(self, sight: Sight, last: Sight) -> None:
        for who in sorted(set(sight.left_out) - set(last.left_out)):
            self._teller.tell("left-out", f"{who} is left out: {sight.left_out[who]}", instance=who)
