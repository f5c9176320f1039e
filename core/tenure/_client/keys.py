"""Checks of the keys, prefixes and values that an application gives; the limits are in ``tenure.spi.keys``."""

from __future__ import annotations

from inspect import iscoroutinefunction

from tenure._text import shown
from tenure.errors import InvalidArgument, InvalidKey
from tenure.spi.keys import check_text


def check_key(key: str) -> None:
    """Raise ``InvalidKey`` unless ``key`` is non-empty text of at most 1,024 bytes of UTF-8 without NUL."""
    if not isinstance(key, str):
        raise InvalidKey(f"checking the key {shown(key)}: a key is a str, not {type(key).__name__}; decode bytes first")
    if not key:
        raise InvalidKey("checking the key '': a key can't be empty; give it at least one character")
    check_text(key, "key")


def check_prefix(prefix: str) -> None:
    """Like :func:`check_key`, but a prefix may be empty: it then matches every key."""
    if not isinstance(prefix, str):
        raise InvalidKey(
            f"checking the prefix {shown(prefix)}: a prefix is a str, not {type(prefix).__name__}; decode bytes first"
        )
    check_text(prefix, "prefix")


def check_callback(name: str, function: object, *, awaited: bool = False) -> None:
    """Raise ``InvalidArgument`` unless ``function`` is ``None``, or can be called.

    ``awaited``: whether what an async function returns is awaited.
    """
    if function is None:
        return
    if not callable(function):
        raise InvalidArgument(f"{name}={shown(function)}: a callback is a function; give one, or leave it out")
    if not awaited and iscoroutinefunction(function):
        raise InvalidArgument(
            f"{name}={shown(function)}: nothing would await an async function here; give a plain function, or use "
            "tenure.aio"
        )


def check_value(value: bytes) -> None:
    """Raise ``InvalidArgument`` unless ``value`` is ``bytes``."""
    if not isinstance(value, bytes):
        hint = "encode text with .encode()" if isinstance(value, str) else "convert the value to bytes first"
        raise InvalidArgument(f"checking the value: a value is bytes, not {type(value).__name__}; {hint}")
