"""A Django application: a store and a registry for each process of a project, configured by ``settings.TENURE``.

::

    INSTALLED_APPS = [..., "tenure_workers.django"]
    TENURE = {"STORE_URL": "redis://127.0.0.1/shop", "INSTANCE": lambda: Instance("shop", port=8000)}

``STORE_URL`` is needed. ``INSTANCE``, ``CONFIG``, ``DRAIN_WAIT``, ``STOP_TIMEOUT`` and whatever else is an argument of
:class:`~tenure_workers.Lifespan` may be given, in capitals.
"""

from __future__ import annotations

import threading
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from tenure import ConfigError, Store
from tenure.registry import Registry
from tenure_workers.lifespan import Lifespan

__all__ = ["forget_lifespan", "get_lifespan", "get_registry", "get_store"]

_lock = threading.Lock()
_made: list[Lifespan] = []


def get_lifespan() -> Lifespan:
    """Return the project's lifespan, made from ``settings.TENURE`` by the first call. It opens nothing.

    Returns:
        The lifespan, the same one at each call.

    Raises:
        ImproperlyConfigured: the setting is missing or wrong.
    """
    with _lock:
        if not _made:
            _made.append(_from_settings())
        return _made[0]


def get_store() -> Store:
    """Return this process's store, opened on the first use.

    Returns:
        The open store. The lifespan closes it.

    Raises:
        ImproperlyConfigured: the setting is missing or wrong.
        TenureError: as ``tenure.connect`` and the start of a registry.
    """
    return get_lifespan().store


def get_registry() -> Registry:
    """Return this process's started registry, opened on the first use.

    Returns:
        The started registry. The lifespan closes it.

    Raises:
        ImproperlyConfigured: the setting is missing or wrong.
        TenureError: as ``tenure.connect`` and the start of a registry.
    """
    return get_lifespan().registry


def forget_lifespan() -> None:
    """Close the lifespan. The next use makes another one from the settings: for tests that change them."""
    with _lock:
        made = list(_made)
        _made.clear()
    for lifespan in made:
        lifespan.close()


def _from_settings() -> Lifespan:
    given = getattr(settings, "TENURE", None)
    if not isinstance(given, dict) or not isinstance(given.get("STORE_URL"), str):
        raise ImproperlyConfigured(
            f"reading settings.TENURE: it is a dictionary with the store's URL, not {given!r:.80}; write "
            'TENURE = {"STORE_URL": "redis://127.0.0.1/shop"}'
        )
    arguments: dict[str, Any] = {name.lower(): value for name, value in given.items()}
    try:
        return Lifespan(**arguments)
    except ConfigError as exc:
        raise ImproperlyConfigured(f"reading settings.TENURE: {exc}") from exc
