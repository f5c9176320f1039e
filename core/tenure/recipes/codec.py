"""How recipes that keep values of the application write them as bytes, and read them."""

from __future__ import annotations

import json
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Codec(Protocol[T]):
    """Writes values of one type as bytes, and reads them. ``TEXT``, ``JSON`` and ``BYTES`` are ready.

    >>> import tenure
    >>> class Number:
    ...     def encode(self, value: int) -> bytes:
    ...         return str(value).encode()
    ...
    ...     def decode(self, data: bytes) -> int:
    ...         return int(data)
    >>> with tenure.connect("memory://") as store:
    ...     limit = tenure.CachedValue(store, "settings/limit", codec=Number(), default=10)
    ...     limit.set(20)
    ...     limit.value
    20
    """

    def encode(self, value: T) -> bytes:
        """Write a value. Any exception says that it can't be written; recipes raise ``InvalidArgument`` then.

        Args:
            value: the value.

        Returns:
            Its bytes.
        """
        ...

    def decode(self, data: bytes) -> T:
        """Read a value. Any exception says that the bytes are no such value; each recipe says what it does then.

        Args:
            data: bytes that any program may have written.

        Returns:
            The value.
        """
        ...


class _Text:
    def encode(self, value: str) -> bytes:
        return value.encode()

    def decode(self, data: bytes) -> str:
        return data.decode()

    def __repr__(self) -> str:
        return "tenure.TEXT"


class _Json:
    def encode(self, value: Any) -> bytes:
        return json.dumps(value, ensure_ascii=False).encode()

    def decode(self, data: bytes) -> Any:
        return json.loads(data)

    def __repr__(self) -> str:
        return "tenure.JSON"


class _Bytes:
    def encode(self, value: bytes) -> bytes:
        return value

    def decode(self, data: bytes) -> bytes:
        return data

    def __repr__(self) -> str:
        return "tenure.BYTES"


TEXT: Codec[str] = _Text()
"""Text, as UTF-8."""
JSON: Codec[Any] = _Json()
"""What JSON can express, as UTF-8."""
BYTES: Codec[bytes] = _Bytes()
"""Bytes as they are."""
