"""What an agent says of itself: what it serves, how old that is, and to how many programs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from tenure._runtime.deadline import Deadline
from tenure._text import seconds
from tenure.agent._link import Link
from tenure.errors import Unavailable


@dataclass(frozen=True, slots=True)
class ServedPrefix:
    """One prefix of keys that an agent serves.

    Attributes:
        prefix: the prefix, without the namespace of the agent's store.
        entries: the number of its keys.
        revision: the store's revision that they show.
    """

    prefix: str
    entries: int
    revision: int


@dataclass(frozen=True, slots=True)
class AgentStatus:
    """What an agent says of itself.

    Attributes:
        pid: its process.
        store: its store's URL, without a password.
        age: seconds since what it serves was the state of the store: 0.0 while it follows it. ``None`` if it knows
            nothing, or nobody knows how old that is.
        source: where what it serves comes from: ``"store"``, ``"file"`` or ``"nothing"``.
        outage: why it doesn't reach the store; ``None`` while it does.
        serves: what it serves.
        entries: the number of keys that it serves.
        batches: the changes that the store has sent it, counted in batches.
        programs: the processes that are connected.
        connections: their connections.
        watches: their watches.
        waiting_bytes: what waits to be read by them.
        refused: connections that were refused, since its start.
        cut_off: programs that were cut off, since its start.
        overflows: how often a program read too slowly, and began again with the state.
        running_for: seconds since its start.
        warm_file: the file for its next start; ``None`` without one.
    """

    pid: int
    store: str
    age: float | None
    source: str
    outage: str | None
    serves: tuple[ServedPrefix, ...]
    entries: int
    batches: int
    programs: int
    connections: int
    watches: int
    waiting_bytes: int
    refused: int
    cut_off: int
    overflows: int
    running_for: float
    warm_file: str | None

    @property
    def age_text(self) -> str:
        """How old what it serves is, in words."""
        if self.source == "nothing":
            return "the agent has not reached its store yet"
        if self.outage is None:
            return "the agent follows its store"
        return f"what the agent serves is {'of unknown age' if self.age is None else f'{seconds(self.age)} old'}"


def status_of(answer: Sequence[Any], path: Path) -> AgentStatus:
    """Return the status that an agent has answered. Raises ``Unavailable`` if it is none."""
    with contextlib.suppress(TypeError, ValueError, LookupError):
        facts = {field.name: answer[1][field.name] for field in fields(AgentStatus)}
        facts["serves"] = tuple(ServedPrefix(**each) for each in facts["serves"])
        return AgentStatus(**facts)
    raise Unavailable(f"asking the agent at {path}: its status can't be read; update the older of the two")


def ask_status(path: str | os.PathLike[str], *, timeout: float = 5.0) -> AgentStatus:
    """Ask the agent at a socket what it serves, and how old that is.

    Args:
        path: the agent's socket.
        timeout: seconds for the answer.

    Returns:
        The status. The agent answers it also while it has not reached its store.

    Raises:
        Unavailable: no agent listens there, or none answers in time.
        PermissionDenied: this user may not connect.
        ConfigError: what listens there is no agent, or one of another version.
    """
    deadline = Deadline(timeout)
    link = Link(Path(path))
    try:
        _, answer = link.line(deadline).ask("status", {}, deadline)
        return status_of(answer, link.path)
    finally:
        link.close()
