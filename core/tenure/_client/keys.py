"""Keys: which are legal, and how a namespace is put in front of them.

A namespace named ``n`` puts ``quote(n) + "/"`` in front of every key. Percent-encoding leaves no slash in the
name, so no namespace's keys start with another's prefix: ``a``, ``a0``, ``a/`` and ``a/b`` are four
namespaces that don't see each other (decision record 0003). Without a namespace a client sees the whole store as
it is, which is needed to share keys with other programs.
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
        raise InvalidKey(f"checking the key {key!r}: a key is a str, not {type(key).__name__}; decode bytes first")
    if not key:
        raise InvalidKey("checking the key '': a key can't be empty; give it at least one character")
    check_text(key, "key")


def check_prefix(prefix: str) -> None:
    """Like :func:`check_key`, but a prefix may be empty: it then matches every key."""
    if not isinstance(prefix, str):
        raise InvalidKey(
            f"checking the prefix {prefix!r}: a prefix is a str, not {type(prefix).__name__}; decode bytes first"
        )
    check_text(prefix, "prefix")


def check_text(text: str, kind: str) -> None:
    """Raise ``InvalidKey`` if ``text`` can be no key, prefix or namespace. ``kind`` is which of them it should be."""
    if "\0" in text:
        raise InvalidKey(
            f"checking the {kind} {text[:80]!r}: a {kind} can't contain NUL, and position {text.index(chr(0))} has "
            "one; remove that character"
        )
    if len(text) <= _SURELY_SHORT and text.isascii():
        return
    try:
        size = len(text.encode())
    except UnicodeEncodeError as exc:
        raise InvalidKey(
            f"checking the {kind} {text[:80]!r}: a {kind} is valid Unicode, and position {exc.start} has a lone "
            "surrogate; remove that character"
        ) from exc
    if size > MAX_KEY_BYTES:
        raise InvalidKey(
            f"checking the {kind} {text[:40]!r}...: a {kind} has at most {MAX_KEY_BYTES} bytes of UTF-8, this one has "
            f"{size}; choose a shorter one"
        )


def check_value(value: bytes) -> None:
    """Raise ``InvalidArgument`` unless ``value`` is ``bytes``."""
    if not isinstance(value, bytes):
        hint = "encode text with .encode()" if isinstance(value, str) else "convert the value to bytes first"
        raise InvalidArgument(f"checking the value: a value is bytes, not {type(value).__name__}; {hint}")


def namespace_prefix(namespace: str) -> str:
    """Return the text in front of the keys of ``namespace``; ``""`` for no namespace. Raises ``ConfigError``."""
    if not namespace:
        return ""
    try:
        check_text(namespace, "namespace")
    except InvalidKey as exc:
        raise ConfigError(str(exc)) from exc
    encoded = quote(namespace, safe="") + "/"
    if len(encoded) > MAX_NAMESPACE_BYTES:
        raise ConfigError(
            f"checking the namespace {namespace[:40]!r}...: a namespace has at most {MAX_NAMESPACE_BYTES} bytes when "
            f"encoded, this one has {len(encoded)}; choose a shorter one"
        )
    return encoded
