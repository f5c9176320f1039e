"""URLs of sandboxes, for code that opens its store itself: a plugin that exists only in this process."""

from __future__ import annotations

import threading
from collections.abc import Callable

from tenure._plugins import discovery
from tenure.errors import ConfigError, PluginError
from tenure.hookspecs import hookimpl
from tenure.spi import Backend, BackendPlugin, OpenRequest, UrlForm

SCHEME = "sandbox"

Opener = Callable[[OpenRequest], Backend]

_lock = threading.Lock()
_openers: dict[str, Opener] = {}
_registered = False


class _Plugin:
    @hookimpl
    def tenure_backend(self) -> BackendPlugin:
        return BackendPlugin(
            scheme=SCHEME,
            summary="a store of one test, with faults (tenure.testing)",
            open=_open,
            url_form=UrlForm.NAME,
            spi_version=1,
        )


def _open(request: OpenRequest) -> Backend:
    opener = _openers.get(request.path)
    if opener is None:
        raise ConfigError(
            f"opening {request.url}: no sandbox of that name is open in this process; its test may have ended"
        )
    return opener(request)


def add(name: str, opener: Opener) -> None:
    """Let ``opener`` open the sandbox of this name. Raises ``PluginError`` if another plugin has the scheme."""
    global _registered  # noqa: PLW0603 - one plugin manager per process, so one flag
    with _lock:
        if not _registered:
            try:
                discovery.register(_Plugin(), SCHEME)
            except PluginError as exc:
                raise PluginError(f"registering the scheme {SCHEME}:// for tenure.testing: {exc}") from exc
            _registered = True
        _openers[name] = opener


def remove(name: str) -> None:
    """Forget the sandbox of this name, which is closed."""
    with _lock:
        _openers.pop(name, None)
