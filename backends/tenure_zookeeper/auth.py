"""Who a connection says that it is: nobody, or the URL's user, in one of two ways.

``digest``: user and password go to the server as they are, and it takes whatever they are: nodes on an access list
are open to whoever sends the same again. ``sasl``: the server has a list of users with their passwords and refuses
others (:mod:`tenure_zookeeper.sasl`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tenure.errors import ConfigError
from tenure.spi.credentials import Credentials
from tenure.spi.credentials import Login as User
from tenure.spi.plugin import OpenRequest

_WHERE = "in front of the hosts"


@dataclass(frozen=True, slots=True)
class Login:
    """The user of the URL, if any (``user`` is ``None`` otherwise)."""

    user: str | None = None
    password: str = field(default="", repr=False)
    sasl: bool = False

    @property
    def packets(self) -> list[tuple[str, str]]:
        """Scheme and credential of the ``addauth`` packets to be sent."""
        return [] if self.user is None or self.sasl else [("digest", f"{self.user}:{self.password}")]


class Logins:
    """The login of one store, read again when a server has refused it by SASL. A digest is never refused."""

    def __init__(self, request: OpenRequest) -> None:
        """Raise ``ConfigError`` where the URL asks for SASL, or for nodes of one user, and names none."""
        self.sasl: bool = request.options["auth"] == "sasl"
        self._credentials: Credentials = request.login_source()
        self.first = _checked(self._credentials.current(), request, sasl=self.sasl)
        """Whose nodes they are, and what a digest is made of."""

    def current(self) -> Login:
        """The login for a new connection."""
        return _login(self._credentials.current(), sasl=True) if self.sasl else self.first

    def refused(self, login: Login) -> bool:
        """Read it again, since a server has refused ``login``; whether there is another one now."""
        self._credentials.refused(self._credentials.current())
        return self.current() != login


def _login(user: User, *, sasl: bool) -> Login:
    return Login(user.username, user.password.reveal() if user.password is not None else "", sasl)


def _checked(user: User, request: OpenRequest, *, sasl: bool) -> Login:
    if user.username is not None:
        return _login(user, sasl=sasl)
    if sasl:
        raise ConfigError(f"auth=sasl logs a user in, but {request.url} names none: write user:password@ {_WHERE}")
    if request.options["acl"] != "open":
        raise ConfigError(
            f"the option acl={request.options['acl']} keeps nodes for one user, but {request.url} names none: "
            f"write user:password@ {_WHERE}"
        )
    return Login()
