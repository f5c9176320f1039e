"""Who a connection says that it is: nobody, or the URL's user, in one of two ways.

``digest``: user and password go to the server as they are, and it takes whatever they are: nodes on an access list
are open to whoever sends the same again. ``sasl``: the server has a list of users with their passwords and refuses
others (:mod:`tenure_zookeeper.sasl`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tenure.errors import ConfigError
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


def login_of(request: OpenRequest) -> Login:
    """What the URL says. Raises ``ConfigError`` where it asks for SASL, or for nodes of one user, and names none."""
    sasl = request.options["auth"] == "sasl"
    # Read once: ZooKeeper never refuses a digest, and the nodes' access lists are made for this user.
    login = request.login_source().current()
    if login.username is not None:
        return Login(login.username, login.password.reveal() if login.password is not None else "", sasl)
    if sasl:
        raise ConfigError(f"auth=sasl logs a user in, but {request.url} names none: write user:password@ {_WHERE}")
    if request.options["acl"] != "open":
        raise ConfigError(
            f"the option acl={request.options['acl']} keeps nodes for one user, but {request.url} names none: "
            f"write user:password@ {_WHERE}"
        )
    return Login()
