"""Imports etcd3 0.12.0 on current protobuf, where its own generated code can't load.

etcd3's ``etcdrpc`` package was generated for protobuf 3 and raises ``TypeError`` on import with protobuf 4
and later. A module with the same names, made from ``messages``, takes its place before etcd3 is imported.
Nothing is done where etcd3 or its ``etcdrpc`` is loaded already: someone made it work in another way.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
import types
from typing import Any

from tenure.plugin_kit import RealTime
from tenure_etcd.messages import ENUM_VALUES, MESSAGES, METHODS, stub_class

_NAME = "etcd3.etcdrpc"
_lock = threading.Lock()


def import_etcd3() -> Any:
    """The ``etcd3`` module. Raises ``ImportError`` where it isn't installed."""
    with _lock:
        if _NAME not in sys.modules:
            sys.modules[_NAME] = _etcdrpc()
        try:
            return importlib.import_module("etcd3")
        except ImportError:
            sys.modules.pop(_NAME, None)
            raise


def import_grpc() -> Any:
    """The ``grpc`` module, quiet: unless the user chose a verbosity, its C core logs nothing to the terminal.

    Its log repeats, in its own words, what every error of this plugin says; it reads the setting when loaded.
    """
    ours = "GRPC_VERBOSITY" not in os.environ and "grpc" not in sys.modules
    if ours:
        os.environ["GRPC_VERBOSITY"] = "NONE"
    try:
        grpc = importlib.import_module("grpc")
        # gRPC counts its deadlines from time.time: frozen by a test, they would be over at once, or never.
        for inside in ("grpc._channel", "grpc._common"):
            vars(importlib.import_module(inside))["time"] = RealTime
        return grpc
    finally:
        if ours:
            del os.environ["GRPC_VERBOSITY"]


def _etcdrpc() -> types.ModuleType:
    module = types.ModuleType(_NAME, "etcd's messages and stubs, built for the installed protobuf.")
    module.__path__ = []
    names: dict[str, Any] = {**MESSAGES, **ENUM_VALUES}
    names.update({f"{service}Stub": stub_class(service) for service in METHODS})
    module.__dict__.update(names)
    return module
