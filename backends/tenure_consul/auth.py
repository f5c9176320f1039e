"""The ACL token that requests carry, from the URL, a file or a function; read again when Consul doesn't know it."""

from __future__ import annotations

from tenure.errors import ConfigError
from tenure.spi.credentials import Credentials, Login, Secret
from tenure.spi.plugin import OpenRequest

_HEADERS = "Accept: application/json\r\nUser-Agent: tenure\r\n"


class Token:
    """The token of one store. Raises ``ConfigError`` for what can't be one."""

    def __init__(self, request: OpenRequest) -> None:
        option: Secret | None = request.options["token"]
        if request.username is not None:
            raise ConfigError("Consul has no user names: write the ACL token as password, as in consul://:TOKEN@host")
        self._credentials = request.login_source() if option is None else Credentials.fixed(None, option)
        if option is not None and request.login_source().current().password is not None:
            raise ConfigError("the URL has two ACL tokens, its password and the option token: leave out one of them")
        self.given = self.current().password is not None
        """Whether there is a token."""

    def current(self) -> Login:
        """The token for a new connection."""
        return self._checked(self._credentials.current())

    @staticmethod
    def headers(login: Login) -> str:
        """The lines that every request with this token begins with."""
        text = "" if login.password is None else login.password.reveal()
        return f"{_HEADERS}X-Consul-Token: {text}\r\n" if text else _HEADERS

    def renewed(self, login: Login) -> bool:
        """Whether there is another token now that this one was refused."""
        return self._credentials.refused(login)

    @staticmethod
    def _checked(login: Login) -> Login:
        text = "" if login.password is None else login.password.reveal()
        if not text.isascii() or (text and not text.isprintable()):
            raise ConfigError(
                "the ACL token has characters that no token has: letters, digits and dashes are what is expected"
            )
        return login
