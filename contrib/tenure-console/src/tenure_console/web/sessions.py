"""Who has been let in: one-time tokens, and the sessions of browsers.

A token lets one browser in and is worthless afterwards; the next one is made then. A session is a random number in a
cookie. It lives in this process alone, so it ends with it.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

_MOST = 1000
"""Sessions that are remembered; the one that was used longest ago is forgotten first."""


@dataclass(slots=True)
class Session:
    """One browser.

    Attributes:
        number: what its cookie has.
        person: who it is, if the application says so; otherwise empty.
        values: whether it asked for values.
        theme: ``light``, ``dark``, or ``auto``.
        notice: what the next page shows it.
        notice_kind: ``done`` or ``failed``.
    """

    number: str
    person: str = ""
    values: bool = False
    theme: str = "auto"
    notice: str = ""
    notice_kind: str = "done"

    def take_notice(self) -> tuple[str, str]:
        """Return the notice and its kind, which is shown once."""
        notice, self.notice = self.notice, ""
        return notice, self.notice_kind

    def tell(self, notice: str, kind: str = "done") -> None:
        """Set the notice of the next page."""
        self.notice, self.notice_kind = notice, kind


class Sessions:
    """Tokens and sessions of one console. Thread-safe.

    Args:
        on_entry: called with the next token after one was used.
    """

    def __init__(self, on_entry: Callable[[str], object] | None = None) -> None:
        self._lock = threading.Lock()
        self._secret = secrets.token_bytes(32)
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._token = secrets.token_urlsafe(32)
        self._on_entry = on_entry
        self.cookie = f"tenure-console-{secrets.token_hex(4)}"

    @property
    def token(self) -> str:
        """The token that lets the next browser in, once."""
        return self._token

    def enter(self, token: str) -> Session | None:
        """Exchange a token for a session; ``None`` if it isn't the present one."""
        with self._lock:
            if not hmac.compare_digest(token.encode("utf-8", "surrogatepass"), self._token.encode()):
                return None
            self._token = following = secrets.token_urlsafe(32)
            session = self._new()
        if self._on_entry is not None:
            self._on_entry(following)
        return session

    def find(self, number: str) -> Session | None:
        """Return the session of a cookie."""
        with self._lock:
            session = self._sessions.get(number)
            if session is not None:
                self._sessions.move_to_end(number)
            return session

    def open(self, person: str) -> Session:
        """Return a new session, for a browser that the application has let in."""
        with self._lock:
            return self._new(person)

    def leave(self, session: Session) -> None:
        """End a session."""
        with self._lock:
            self._sessions.pop(session.number, None)

    def form_key(self, session: Session) -> str:
        """Return what a form of this session has to carry, and no other client can know."""
        return hmac.new(self._secret, session.number.encode(), hashlib.sha256).hexdigest()

    def is_form_key(self, session: Session, key: str) -> bool:
        """Return whether ``key`` is that of this session."""
        return hmac.compare_digest(key.encode("utf-8", "surrogatepass"), self.form_key(session).encode())

    def _new(self, person: str = "") -> Session:
        session = Session(secrets.token_urlsafe(32), person)
        self._sessions[session.number] = session
        while len(self._sessions) > _MOST:
            self._sessions.popitem(last=False)
        return session
