"""Keys as a store gets them: how long they may be, and how core puts a namespace in front of them.

A namespace named ``n`` puts ``quote(n) + "/"`` in front of every key. Percent-encoding leaves no slash in the
name, so no namespace's keys start with another's prefix: ``a``, ``a0``, ``a/`` and ``a/b`` are four
namespaces that don't see each other (decision record 0003). Without a namespace the application sees the whole
store as it is, which is what sharing keys with other programs needs.
"""

from __future__ import annotations

from urllib.parse import quote

from tenure.errors import ConfigError, InvalidKey

MAX_KEY_BYTES = 1024
"""Bytes of UTF-8 that an application's key may have, without the namespace in front of it."""

MAX_NAMESPACE_BYTES = 255
"""Bytes that a namespace's prefix may have, its slash included."""

_SURELY_SHORT = MAX_KEY_BYTES // 4  # a character takes at most four bytes of UTF-8


def check_text(text: str, what: str) -> None:
    """Raise ``InvalidKey`` unless ``text`` can be a key or part of one; ``what`` names it in the message."""
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


def namespace_prefix(namespace: str) -> str:
    """What stands in front of the keys of ``namespace``; ``""`` for no namespace. Raises ``ConfigError``.

    A plugin gets keys with this prefix in place (``OpenRequest.namespace`` is the name), and needs it only where
    it makes keys of its own or limits what it asks the server for.
    """
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
