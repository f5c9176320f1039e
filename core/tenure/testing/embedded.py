"""The store inside the process that tests use unless they name one: found by its entry point, like all stores.

A distribution offers it in the group ``tenure.testing``: a function without arguments that makes an
:class:`EmbeddedStore`.
"""

from __future__ import annotations

from importlib import metadata
from typing import Protocol

from tenure.errors import ConfigError, PluginError

GROUP = "tenure.testing"


class EmbeddedStore(Protocol):
    """An empty store that no other test uses, on the clock that it is opened with."""

    @property
    def url(self) -> str:
        """The URL that opens it."""

    def compact(self) -> None:
        """Drop the history: a watch that resumes from before the present gets ``Compacted``."""

    def lose_data(self) -> None:
        """Remove all data, as a server that restarts without its disk."""

    def close(self) -> None:
        """Release the store."""


def find() -> EmbeddedStore:
    """Return a new store. Raises ``ConfigError`` if no distribution offers one, ``PluginError`` if making it fails."""
    for entry in metadata.entry_points(group=GROUP):
        try:
            store: EmbeddedStore = entry.load()()
        except Exception as exc:
            raise PluginError(f"making the store for tests ({entry.value}): {type(exc).__name__}: {exc}") from exc
        return store
    raise ConfigError(
        f"making a sandbox: no installed distribution offers a store for tests (entry point group {GROUP!r}; repeat an "
        "editable install that is older than the group); give the URL of a store"
    )
