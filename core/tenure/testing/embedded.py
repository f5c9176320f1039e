"""The store inside the process that tests get unless they name one: found by its entry point, like all stores.

A distribution that has one offers it in the group ``tenure.testing``: a function without arguments that makes an
:class:`EmbeddedStore`.
"""

from __future__ import annotations

from importlib import metadata
from typing import Protocol

from tenure.errors import ConfigError, PluginError

GROUP = "tenure.testing"


class EmbeddedStore(Protocol):
    """A store with nothing in it that nobody else has, and that lives by the clock it is opened with."""

    @property
    def url(self) -> str:
        """What opens it."""

    def compact(self) -> None:
        """Drop the history: what resumes from before the present gets ``Compacted``."""

    def lose_data(self) -> None:
        """Start over empty, as a server restarted without its disk."""

    def close(self) -> None:
        """It isn't needed any more."""


def find() -> EmbeddedStore:
    """A new store. Raises ``ConfigError`` where nothing installed offers one, ``PluginError`` where that fails."""
    for entry in metadata.entry_points(group=GROUP):
        try:
            store: EmbeddedStore = entry.load()()
        except Exception as exc:
            raise PluginError(
                f"the store for tests ({entry.value}) can't be made: {type(exc).__name__}: {exc}"
            ) from exc
        return store
    raise ConfigError(
        f"nothing that is installed offers a store for tests (entry point group {GROUP!r}; an editable install that is "
        "older than the group has to be made again): give the URL of a store"
    )
