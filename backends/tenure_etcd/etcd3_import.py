"""Imports etcd3 0.12.0 on current protobuf, where its own generated code can't load.

etcd3's ``etcdrpc`` package was generated for protobuf 3 and raises ``TypeError`` on import with protobuf 4
and later. A module with the same names, made from ``messages``, takes its place before etcd3 is imported.
Nothing is done where etcd3 or its ``etcdrpc`` is loaded already: someone made it work in another way.
"""

from __future__ import annotations

import importlib
import os
import sys
import types
from typing import Any

from tenure.plugin_kit import Monitor, RealTime
from tenure_etcd.messages import ENUM_VALUES, MESSAGES, METHODS, stub_class

_NAME = "etcd3.etcdrpc"
_lock = Monitor()
os.register_at_fork(after_in_child=_lock._at_fork_reinit)  # another thread of the parent may have held it


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
    """The ``grpc`` module with settings that it reads when it is loaded; those that the user chose are left alone.

    It is quiet: its log repeats, in its own words, what every error of this plugin says. And it polls in a way that
    survives a fork: with epoll, a child of a process that had a stream open dies by SIGABRT when it connects.
    """
    settings = {"GRPC_VERBOSITY": "NONE", "GRPC_POLL_STRATEGY": "poll"}
    ours = {} if "grpc" in sys.modules else {name: text for name, text in settings.items() if name not in os.environ}
    os.environ.update(ours)
    try:
        grpc = importlib.import_module("grpc")
        # gRPC counts its deadlines from time.time: frozen by a test, they would be over at once, or never.
        for inside in ("grpc._channel", "grpc._common"):
            vars(importlib.import_module(inside))["time"] = RealTime
        return grpc
    finally:
        for name in ours:
            del os.environ[name]


def _etcdrpc() -> types.ModuleType:
    module = types.ModuleType(_NAME, "etcd's messages and stubs, built for the installed protobuf.")
    module.__path__ = []
    names: dict[str, Any] = {**MESSAGES, **ENUM_VALUES}
    names.update({f"{service}Stub": stub_class(service) for service in METHODS})
    module.__dict__.update(names)
    return module
