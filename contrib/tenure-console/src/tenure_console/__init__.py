"""A live web page on a Tenure store: services, keys, changes, leases, locks, and what the store guarantees.

``tenure console`` serves it on this machine. :class:`Console` is the same as an ASGI application, for mounting in
another one. Public API: the names below; everything else may change.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tenure_console.application import Console

__all__ = ["Console"]


def __getattr__(name: str) -> object:
    # The command's module is imported for `tenure --help`, which needs no server.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module("tenure_console.application"), name)
    return found
