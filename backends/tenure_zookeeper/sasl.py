"""The SASL mechanism DIGEST-MD5 (RFC 2831), as ZooKeeper's servers ask for it: the client's half of the exchange.

kazoo leaves this to pure-sasl. That has had no release since 2019, and with it right passwords are refused that have
letters such as "ä"; and kazoo takes a server that goes away in mid-exchange for one that refuses the user, after which
a client is dead. The mechanism is one exchange of hashes, and the sessions of leases need it without kazoo anyway; so
it is done here, for both.

The password isn't sent, and the server proves that it knows it as well. What is sent can be tried against a list of
passwords, and what follows isn't protected at all, so TLS has its use all the same.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable

from tenure.errors import AuthenticationFailed
from tenure_zookeeper import encoding
from tenure_zookeeper.auth import Login
from tenure_zookeeper.errors import translate

_URI = "zookeeper/zk-sasl-md5"
"""Service and host of every ZooKeeper server, wherever it runs."""
_COUNT = b"00000001"
_ACTION = "logging in by SASL"
_DIRECTIVE = re.compile(rb'([A-Za-z-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^",\s]*))')

Ask = Callable[[bytes], encoding.Reply]
"""Sends a token and answers the server's reply."""


class DigestMd5:
    """One exchange. ``nonce`` is for tests, and otherwise drawn."""

    def __init__(self, user: str, password: str, *, uri: str = _URI, nonce: str | None = None) -> None:
        self._user = user
        self._password = password
        self._uri = uri.encode()
        self._cnonce = (nonce or secrets.token_hex(16)).encode()
        self._nonce = b""
        self._secret = b""

    def answer(self, challenge: bytes) -> bytes:
        """The token that answers the server's challenge; raises ``ValueError`` for one that isn't DIGEST-MD5's."""
        said = _directives(challenge)
        if b"nonce" not in said or said.get(b"algorithm", b"md5-sess") != b"md5-sess":
            raise ValueError("no challenge of DIGEST-MD5")
        if b"auth" not in re.split(rb"[\s,]+", said.get(b"qop", b"auth")):
            raise ValueError("the server wants more protection than the login")
        realm, self._nonce = said.get(b"realm", b""), said[b"nonce"]
        user = _narrow(self._user)
        login = b":".join((user, realm, _narrow(self._password)))
        self._secret = _md5(b":".join((_md5(login).digest(), self._nonce, self._cnonce))).hexdigest().encode()
        words = [
            b"charset=utf-8",
            b"username=" + _quoted(self._user.encode()),
            b"realm=" + _quoted(realm),
            b"nonce=" + _quoted(self._nonce),
            b"nc=" + _COUNT,
            b"cnonce=" + _quoted(self._cnonce),
            b"digest-uri=" + _quoted(self._uri),
            b"response=" + self._proof(b"AUTHENTICATE"),
            b"qop=auth",
        ]
        return b",".join(words)

    def confirms(self, token: bytes) -> bool:
        """Whether this is the word of a server that knows the password."""
        return hmac.compare_digest(_directives(token).get(b"rspauth", b""), self._proof(b""))

    def _proof(self, method: bytes) -> bytes:
        uri = _md5(method + b":" + self._uri).hexdigest().encode()
        return _md5(b":".join((self._secret, self._nonce, _COUNT, self._cnonce, b"auth", uri))).hexdigest().encode()


def log_in(login: Login, ask: Ask) -> None:
    """Have the server know whose connection it is. Raises ``AuthenticationFailed``, and what ``ask`` raises."""
    exchange = DigestMd5(login.user or "", login.password)
    challenge = _token(ask(b""))
    if not challenge:
        raise AuthenticationFailed(
            "the server has no SASL logins: it needs a JAAS configuration with a section Server and the "
            "DigestLoginModule, or the URL auth=digest"
        )
    try:
        answer = exchange.answer(challenge)
    except ValueError as exc:
        raise AuthenticationFailed(f"the server offers a SASL login that auth=sasl can't do: {exc}") from exc
    if not exchange.confirms(_token(ask(answer))):
        raise AuthenticationFailed("by SASL the server neither accepts the user nor proves that it knows the password")


def _token(reply: encoding.Reply) -> bytes:
    if reply.error in (encoding.Code.AUTH_FAILED, encoding.Code.REQUIRES_SASL):
        raise AuthenticationFailed(
            "ZooKeeper doesn't accept the user name and password of the URL by SASL (DIGEST-MD5; Kerberos isn't "
            "supported)"
        )
    if reply.error:
        raise translate(reply.error, action=_ACTION, write=False)
    return encoding.read_token(reply)


def _directives(token: bytes) -> dict[bytes, bytes]:
    """Name and value of each; of several with one name the first, such as the first realm of those on offer."""
    found: dict[bytes, bytes] = {}
    for name, quoted, plain in _DIRECTIVE.findall(token):
        found.setdefault(name.lower(), re.sub(rb"\\(.)", rb"\1", quoted) or plain)
    return found


def _quoted(value: bytes) -> bytes:
    return b'"' + re.sub(rb'(["\\])', rb"\\\1", value) + b'"'


def _narrow(text: str) -> bytes:
    """As it goes into the hash: in Latin-1 where that is possible, says the RFC, else in UTF-8."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode()


def _md5(data: bytes) -> hashlib._Hash:
    # The mechanism leaves no choice, and Pythons that refuse MD5 for security would refuse the login.
    return hashlib.md5(data, usedforsecurity=False)
