"""The store that ``tenure.testing`` gives to applications' tests, named by an entry point of that group."""

from __future__ import annotations

import uuid

from tenure_memory.servers import forget, server


class FreshServer:
    """A server under a name that nobody else has."""

    def __init__(self) -> None:
        self._server = server(f"test-{uuid.uuid4().hex}")

    @property
    def url(self) -> str:
        """What opens it, in this process."""
        return f"memory://{self._server.name}"

    def compact(self) -> None:
        """Drop the history: what resumes from before the present gets ``Compacted``."""
        self._server.compact()

    def lose_data(self) -> None:
        """Start over empty, as a server restarted without its disk."""
        self._server.lose_data()

    def close(self) -> None:
        """Forget the name; what is open stays open."""
        forget(self._server.name)
