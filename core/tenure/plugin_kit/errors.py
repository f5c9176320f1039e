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
    """One line of an error table: messages of the server, and what they mean.

    Attributes:
        match: text that the message contains, compared without regard to case; or a function that takes the message
            and returns whether this line is about it.
        error: the class of error that the message means.
        advice: the cause and what to do. It completes ``<action>: <advice>``.
    """

    match: str | Callable[[str], bool]
    error: type[TenureError]
    advice: str

    def matches(self, message: str) -> bool:
        """Return whether this line is about ``message``.

        Args:
            message: what the server said.

        Returns:
            ``True`` if ``match`` is in the message, or returns ``True`` for it.
        """
        if callable(self.match):
            return self.match(message)
        return self.match.lower() in message.lower()


class ErrorTable:
    """What the error messages of one product mean. The first line that matches counts. Immutable.

    The methods return errors and don't raise them, so that the caller can write ``raise ... from exc``.

    >>> from tenure.errors import AuthenticationFailed
    >>> table = ErrorTable("Pocket", [Row("wrong password", AuthenticationFailed, "check the URL's password")])
    >>> table.refusal("WRONG PASSWORD for 'app'", action="reading a key", where="db1:7000", write=False)
    AuthenticationFailed("reading a key: check the URL's password (db1:7000 said: WRONG PASSWORD for 'app')")
    >>> type(table.refusal("disk error 17", action="writing", where="db1:7000", write=True)).__name__
    'OutcomeUnknown'

    Args:
        product: the server's name, for messages.
        rows: the lines, in the order in which they are tried.

    Attributes:
        product: the server's name.
        rows: the lines.
    """

    def __init__(self, product: str, rows: Sequence[Row]) -> None:
        self.product = product
        self.rows = tuple(rows)

    def find(self, message: str) -> Row | None:
        """Find the first line about ``message``.

        Args:
            message: what the server said.

        Returns:
            The line, ``None`` if the table has none.
        """
        return next((row for row in self.rows if row.matches(message)), None)

    def refusal(self, message: str, *, action: str, where: object, write: bool) -> TenureError:
        """Make the error for an error reply of the server.

        A message that no line knows means ``OutcomeUnknown`` for a write, because it may have been applied. For
        anything else it means ``Unavailable``.

        Args:
            message: what the server said.
            action: what was being done, such as ``"reading a key"``.
            where: the server, for the message.
            write: whether the call could have changed the store.

        Returns:
            The error, for the caller to raise ``from`` the driver's.
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
        """Make the error for a request whose connection failed before the whole answer came.

        Args:
            reason: what happened to the connection.
            action: what was being done, such as ``"reading a key"``.
            where: the server, for the message.
            write: whether the call could have changed the store.
            sent: whether the server may have received the whole request. Pass ``False`` only if that is certain.
            late: whether it failed because the time was up.

        Returns:
            ``OutcomeUnknown`` for a write that may have been received. For anything else ``DeadlineExceeded`` if it
            was late, and ``Unavailable`` if it was not. The caller raises it ``from`` the driver's error.
        """
        message = f"{action}: {self.product} at {where} failed to answer: {reason}"
        if write and sent:
            return OutcomeUnknown(f"{message}; it may have been applied: read before trying again")
        return DeadlineExceeded(message) if late else Unavailable(message)

    def cannot_connect(self, message: str, *, where: object, late: bool = False) -> TenureError:
        """Make the error for a connection that could not be made. No request was sent.

        Args:
            message: what the system or the server said.
            where: the server, for the message.
            late: whether it failed because the time was up.

        Returns:
            The error of the table's line about ``message``, ``Unavailable`` if there is none. ``Unavailable``
            becomes ``DeadlineExceeded`` if it was late.
        """
        row = self.find(message)
        advice = "the connection failed" if row is None else row.advice
        kind = Unavailable if row is None else row.error
        if late and kind is Unavailable:
            kind = DeadlineExceeded
        return kind(f"connecting to {self.product} at {where}: {advice} ({shorten(message)})")


def shorten(message: str) -> str:
    """Put a message on one line, and cut it to 200 characters.

    >>> shorten("the server  said:\\n  no")
    'the server said: no'

    Args:
        message: the text of a server or driver.

    Returns:
        The text with each run of white space as one space; ``"nothing"`` if it is empty.
    """
    return " ".join(message.split())[:_LONGEST] or "nothing"
