"""From a server's error or a broken connection to an error of ``tenure.errors``: tables, and one rule for doubt.

The rule: a write that was sent and not answered, or answered by an error that the plugin doesn't know, **may have
been applied**. It is ``OutcomeUnknown``. Only an answer that is known to mean "refused" is told as a refusal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tenure.errors import DeadlineExceeded, OutcomeUnknown, TenureError, Unavailable

_LONGEST = 200


@dataclass(frozen=True, slots=True)
class Row:
    """One line of an error table."""

    match: str | Callable[[str], bool]
    """Text that the server's message contains (compared without regard to case), or a function of the message."""

    error: type[TenureError]
    """What it means."""

    advice: str
    """What is the matter, and what to do; completes ``<action>: <advice>``."""

    def matches(self, message: str) -> bool:
        """Whether this line is about ``message``."""
        if callable(self.match):
            return self.match(message)
        return self.match.lower() in message.lower()


class ErrorTable:
    """What the error messages of one product mean. The first line that matches counts."""

    def __init__(self, product: str, rows: Sequence[Row]) -> None:
        """Keep ``rows``; ``product`` is the server's name, for messages."""
        self.product = product
        self.rows = tuple(rows)

    def find(self, message: str) -> Row | None:
        """The line about ``message``, ``None`` if the table has none."""
        return next((row for row in self.rows if row.matches(message)), None)

    def refusal(self, message: str, *, action: str, where: object, write: bool) -> TenureError:
        """The error for an error reply of the server; the caller raises it ``from`` the driver's.

        A message that no line knows is ``OutcomeUnknown`` for a write and ``Unavailable`` for anything else.

        Args:
            message: what the server said.
            action: what was being done, such as ``"reading a key"``.
            where: the server, for the message.
            write: whether the call could have changed the store.
        """
        said = f"({where} said: {shorten(message)})"
        row = self.find(message)
        if row is not None:
            return row.error(f"{action}: {row.advice} {said}")
        if write:
            return OutcomeUnknown(
                f"{action}: {self.product} failed for a reason that this plugin doesn't know; it may have been "
                f"applied: read before trying again {said}"
            )
        return Unavailable(f"{action}: {self.product} failed for a reason that this plugin doesn't know {said}")

    def unanswered(
        self, reason: str, *, action: str, where: object, write: bool, sent: bool = True, late: bool = False
    ) -> TenureError:
        """The error for a request whose connection failed before an answer came.

        Args:
            reason: what happened to the connection.
            action: what was being done.
            where: the server, for the message.
            write: whether the call could have changed the store.
            sent: whether the server may have received the whole request.
            late: whether it failed because the time was up.
        """
        message = f"{action}: {self.product} at {where} failed to answer: {reason}"
        if write and sent:
            return OutcomeUnknown(f"{message}; it may have been applied: read before trying again")
        return DeadlineExceeded(message) if late else Unavailable(message)

    def cannot_connect(self, message: str, *, where: object, late: bool = False) -> TenureError:
        """The error for a connection that could not be made. Nothing was sent. ``late``: the time was up."""
        row = self.find(message)
        advice = "the connection failed" if row is None else row.advice
        kind = Unavailable if row is None else row.error
        if late and kind is Unavailable:
            kind = DeadlineExceeded
        return kind(f"connecting to {self.product} at {where}: {advice} ({shorten(message)})")


def shorten(message: str) -> str:
    """``message`` on one line, of at most 200 characters; "nothing" for an empty one."""
    return " ".join(message.split())[:_LONGEST] or "nothing"
