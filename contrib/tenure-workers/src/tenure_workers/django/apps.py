"""What Django does with the application: it registers the development server, and reads changed settings in tests."""

from __future__ import annotations

import os
import sys
from typing import Any

from django.apps import AppConfig
from django.core.signals import setting_changed

from tenure_workers.django import forget_lifespan, get_lifespan

_LISTEN_TIMEOUT = 30.0
"""Seconds until an error is logged if the development server doesn't listen."""


class TenureConfig(AppConfig):  # type: ignore[misc]  # Django has no types
    """Checks ``settings.TENURE`` at the start. Under ``runserver`` it registers the process that serves."""

    name = "tenure_workers.django"
    label = "tenure"
    verbose_name = "Tenure"

    def ready(self) -> None:
        """Called by Django once all applications are loaded."""
        setting_changed.connect(_changed, dispatch_uid="tenure_workers")
        lifespan = get_lifespan()
        if _serves():
            # Of the two processes of `runserver`, the one that serves. It ends by `sys.exit`: that closes the lifespan.
            lifespan.listen_timeout = lifespan.listen_timeout or _LISTEN_TIMEOUT
            lifespan.start(handle_sigterm=False)


def _serves() -> bool:
    return sys.argv[1:2] == ["runserver"] and ("--noreload" in sys.argv or os.environ.get("RUN_MAIN") == "true")


def _changed(*, setting: str, **_: Any) -> None:
    if setting == "TENURE":
        forget_lifespan()
