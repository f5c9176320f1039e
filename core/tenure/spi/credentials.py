"""The user name and password of a store, which may change while it is open: from the URL, a file or a function.

Passwords are rotated while programs run. So a plugin asks for them at each new connection, and says when the server has
refused them: then they are read again, and tried again if they are others.
"""

from __future__ import annotations

import os
import select
import stat
from collections.abc import Callable
from typing import NamedTuple

from tenure._runtime.deadline import Deadline
from tenure._runtime.interruption import interruption
from tenure._runtime.monitor import Monitor
from tenure.errors import AuthenticationFailed, TenureError

_LONGEST = 65_536
"""Bytes of a password in a file."""
_READING = 5.0
"""Seconds in which a pipe has to give a password."""


class Secret:
    """A password or token that ``repr``, ``str`` and messages never show.

    >>> secret = Secret("hunter2")
    >>> secret
    Secret(***)
    >>> secret.reveal()
    'hunter2'

    Args:
        text: the password or token.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text, to pass it to a driver.

        Returns:
            The password or token as given, percent-encoding removed.
        """
        return self._text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__


class Login(NamedTuple):
    """A user name and password.

    Attributes:
        username: the user name, ``None`` if there is none.
        password: the password or token, ``None`` if there is none.
    """

    username: str | None = None
    password: Secret | None = None


class Credentials:
    """Where the login of one opened store comes from. Thread-safe.

    >>> rotated = iter(["old", "new"])
    >>> credentials = Credentials(lambda: Login("app", Secret(next(rotated))))
    >>> first = credentials.current()
    >>> credentials.refused(first), credentials.current().password.reveal()
    (True, 'new')

    Args:
        read: returns the present login. Called at the first connection, and again after a refusal.
    """

    def __init__(self, read: Callable[[], Login] = Login) -> None:
        self._read = read
        self._lock = Monitor()
        self._login: Login | None = None

    @classmethod
    def fixed(cls, username: str | None, password: Secret | None) -> Credentials:
        """Return credentials that never change, as a URL has them.

        Args:
            username: the user name, ``None`` if there is none.
            password: the password or token, ``None`` if there is none.

        Returns:
            The credentials.
        """
        login = Login(username, password)
        return cls(lambda: login)

    @classmethod
    def from_file(cls, username: str | None, path: str) -> Credentials:
        """Return credentials whose password is the first line of a file, read again after a refusal.

        Args:
            username: the user name, ``None`` if there is none.
            path: the file.

        Returns:
            The credentials. The file isn't read yet.
        """
        return cls(lambda: Login(username, Secret(_first_line(path))))

    def current(self) -> Login:
        """Return the login for a new connection.

        Returns:
            The login as it was read last.

        Raises:
            AuthenticationFailed: the file can't be read, or the application's function failed.
        """
        login = self._login
        if login is None:
            login = self._login = self._again()
        return login

    def refused(self, login: Login) -> bool:
        """Read the login again, since the server has refused ``login``.

        Args:
            login: what :meth:`current` returned for the connection that was refused.

        Returns:
            Whether another login is there to be tried.

        Raises:
            AuthenticationFailed: the file can't be read, or the application's function failed.
        """
        with self._lock:
            if self._login is None or self._login == login:
                self._login = self._again()
            return self._login != login

    def _again(self) -> Login:
        try:
            return self._read()
        except TenureError:
            raise
        except Exception as exc:
            if interruption(exc) is not None:
                raise
            # The exception's text may contain what is secret.
            raise AuthenticationFailed(
                f"reading the credentials: the application's function raised {type(exc).__name__}; correct it"
            ) from exc


def _first_line(path: str) -> str:
    try:
        return _beginning(path).partition(b"\n")[0].rstrip(b"\r").decode()
    except UnicodeDecodeError as exc:
        raise _unreadable(path, "it isn't UTF-8") from exc
    except (OSError, ValueError) as exc:
        raise _unreadable(path, getattr(exc, "strerror", None) or str(exc)) from exc


def _beginning(path: str) -> bytes:
    """Read what a password can be. A pipe that nobody writes to, or a device without an end, must hold up no call."""
    deadline = Deadline(_READING)
    found = b""
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        while b"\n" not in found:
            try:
                part = os.read(file, _LONGEST)
            except BlockingIOError:
                ready, _, _ = select.select([file], [], [], deadline.remaining())
                if not ready:
                    raise ValueError(f"nothing was written into this pipe within {_READING:g} s") from None
                continue
            found += part
            if len(found) > _LONGEST and b"\n" not in found:
                raise ValueError(f"its first line is longer than {_LONGEST} bytes")
            if not part and not found and stat.S_ISFIFO(os.fstat(file).st_mode):
                raise ValueError("no program writes into this pipe")
            if not part:
                break
    finally:
        os.close(file)
    return found


def _unreadable(path: str, reason: str) -> AuthenticationFailed:
    return AuthenticationFailed(
        f"reading the password: {path!r}: {reason}; check the file that the option password_file names"
    )
