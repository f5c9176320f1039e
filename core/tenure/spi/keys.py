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
        raise InvalidKey(
            f"checking the {what} {text[:80]!r}: a {what} can't contain NUL, and position {text.index(chr(0))} has "
            "one; remove that character"
        )
    if len(text) <= _SURELY_SHORT and text.isascii():
        return
    try:
        size = len(text.encode())
    except UnicodeEncodeError as exc:
        raise InvalidKey(
            f"checking the {what} {text[:80]!r}: a {what} is valid Unicode, and position {exc.start} has a lone "
            "surrogate; remove that character"
        ) from exc
    if size > MAX_KEY_BYTES:
        raise InvalidKey(
            f"checking the {what} {text[:40]!r}...: a {what} has at most {MAX_KEY_BYTES} bytes of UTF-8, this one has "
            f"{size}; choose a shorter one"
        )


def namespace_prefix(namespace: str) -> str:
    """Return the text in front of the keys of ``namespace``; ``""`` for no namespace.

    A plugin gets keys with this prefix in place (``OpenRequest.namespace`` is the name). It needs the prefix only if
    it makes keys of its own, or limits what it asks the server for.

    Args:
        namespace: the namespace's name, any text.

    Returns:
        The percent-encoded name and a slash.

    Raises:
        ConfigError: the name has a NUL, a lone surrogate, or too many bytes.
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
            f"checking the namespace {namespace[:40]!r}...: a namespace has at most {MAX_NAMESPACE_BYTES} bytes when "
            f"encoded, this one has {len(encoded)}; choose a shorter one"
        )
    return encoded
