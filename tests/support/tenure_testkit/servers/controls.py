"""The controls over a test server that the conformance suite can use."""

from typing import TYPE_CHECKING, Any

from tenure_testkit.servers.container import ServerContainer

if TYPE_CHECKING:
    from tenure.conformance import ServerControls


def memory_controls(name: str) -> "ServerControls":
    """Of the memory store with this name. Killed, it doesn't answer; there is no process to freeze."""
    import tenure_memory
    from tenure.conformance import ServerControls

    server = tenure_memory.server(name)
    return ServerControls(
        kill=server.pause,
        start=server.resume,
        wipe=server.lose_data,
        cut=server.cut_watches,
        compact=server.compact,
    )


def controls(server: ServerContainer | None, **others: Any) -> "ServerControls":
    """Kill, start, freeze and empty it, and whatever else it can do; none for a server that isn't ours."""
    from tenure.conformance import ServerControls

    if server is None:
        return ServerControls()
    return ServerControls(
        kill=server.kill, start=server.start, pause=server.pause, resume=server.resume, wipe=server.wipe, **others
    )
