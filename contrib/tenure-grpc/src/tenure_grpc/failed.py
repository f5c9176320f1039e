"""The outcome of a call that no instance got: an error and a call in one, as gRPC's own errors are."""

from __future__ import annotations

from typing import Any

import grpc


class NotCalled(grpc.RpcError, grpc.Call):  # type: ignore[misc]  # gRPC has no types
    """No instance got the call. Its code is ``UNAVAILABLE`` or ``DEADLINE_EXCEEDED``."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(f"{code.name}: {details}")
        self._code = code
        self._details = details

    def code(self) -> grpc.StatusCode:
        """Return the status."""
        return self._code

    def details(self) -> str:
        """Return why no instance got the call."""
        return self._details

    def debug_error_string(self) -> str:
        """Return the same, for programs that log it."""
        return self._details

    def initial_metadata(self) -> tuple[Any, ...]:
        """Return no metadata."""
        return ()

    def trailing_metadata(self) -> tuple[Any, ...]:
        """Return no metadata."""
        return ()

    def is_active(self) -> bool:
        """Return ``False``."""
        return False

    def time_remaining(self) -> None:
        """Return ``None``."""
        return None  # noqa: RET501 - as in grpc.RpcContext

    def cancel(self) -> bool:
        """Do nothing."""
        return False

    def add_callback(self, callback: object) -> bool:
        """Return ``False``: the call has ended."""
        return False
