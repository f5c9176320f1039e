"""Keys: what is legal, and how a namespace is put in front of them.

A namespace named ``n`` puts ``quote(n) + "/"`` in front of every key. Percent-encoding leaves no slash in the
name, so no namespace's keys start with another's prefix: ``a``, ``a0``, ``a/`` and ``a/b`` are four
namespaces that don't see each other (decision record 0003). Without a namespace the whole store is seen as
it is, which is what sharing keys with other programs needs.
"""

from __future__ import annotations

from urllib.parse import quote

from tenure.errors import ConfigError, InvalidArgument, InvalidKey

MAX_KEY_BYTES = 1024
MAX_NAMESPACE_BYTES = 255
_SURELY_SHORT = MAX_KEY_BYTES // 4  # a character takes at most four bytes of UTF-8


def check_key(key: str) -> None:
    """Raise ``InvalidKey`` unless ``key`` is non-empty text of at most 1,024 bytes of UTF-8 without NUL."""
    if not isinstance(key, str):
        raise InvalidKey(f"a key is a str, not {type(key).__name__}: {key!r}")
    if not key:
        raise InvalidKey("a key can't be empty: give it at least one character")
    check_text(key, "key")


def check_prefix(prefix: str) -> None:
    """Like :func:`check_key`, but a prefix may be empty: it then stands for every key."""
    if not isinstance(prefix, str):
        raise InvalidKey(f"a prefix is a str, not {type(prefix).__name__}: {prefix!r}")
    check_text(prefix, "prefix")


def check_text(text: str, what: str) -> None:
    """The part of the rules that keys and prefixes share."""
    if "\0" in text:
        raise InvalidKey(f"a {what} can't contain NUL (\\0), it is at position {text.index(chr(0))} of {text[:80]!r}")
    if len(text) <= _SURELY_SHORT and text.isascii():
        return
    try:
        size = len(text.encode())
    except UnicodeEncodeError as exc:
        raise InvalidKey(
            f"a {what} has to be valid Unicode, {text[:80]!r} has a lone surrogate at position {exc.start}"
        ) from exc
    if size > MAX_KEY_BYTES:
        raise InvalidKey(f"a {what} takes at most {MAX_KEY_BYTES} bytes of UTF-8, {text[:40]!r}... has {size}")


def check_value(value: bytes) -> None:
    """Raise ``InvalidArgument`` unless ``value`` is ``bytes``."""
    if not isinstance(value, bytes):
        hint = ": encode text with .encode()" if isinstance(value, str) else ""
        raise InvalidArgument(f"a value is bytes, not {type(value).__name__}{hint}")


def namespace_prefix(namespace: str) -> str:
    """What stands in front of the keys of ``namespace``; ``""`` for no namespace. Raises ``ConfigError``."""
    if not namespace:
        return ""
    try:
        check_text(namespace, "namespace")
    except InvalidKey as exc:
        raise ConfigError(str(exc)) from exc
    encoded = quote(namespace, safe="") + "/"
    if len(encoded) > MAX_NAMESPACE_BYTES:
        raise ConfigError(
            f"the namespace {namespace[:40]!r}... takes {len(encoded)} bytes when encoded, at most "
            f"{MAX_NAMESPACE_BYTES} are possible: choose a shorter one"
        )
    return encoded
