"""Finding store plugins: by entry point, one scheme at a time, only when it is asked for.

Plugins that nobody asked for are not imported, so a broken one breaks nothing but itself. Two distributions
claiming one scheme are an error before either is imported: the plugin manager would silently take the first.
"""

from __future__ import annotations

import difflib
import importlib.util
import os
import threading
from dataclasses import dataclass
from importlib import metadata

import pluggy

from tenure import hookspecs
from tenure.errors import ConfigError, PluginError, TenureError, UnknownScheme
from tenure.spi.plugin import BackendPlugin

GROUP = "tenure.backends"
DEFAULT_URL_GROUP = "tenure.default_url"

_lock = threading.RLock()  # pluggy's registration isn't thread-safe
# No fork happens in the middle of a registration, so that a child finds the lock free and the books in order.
os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)
_found: dict[str, BackendPlugin] = {}


@dataclass(frozen=True, slots=True)
class Claim:
    """An entry point that claims a scheme. Nothing of it has been imported."""

    scheme: str
    distribution: str
    version: str
    module: str


def new_manager() -> pluggy.PluginManager:
    """A plugin manager that knows Tenure's hooks and nothing else yet."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    return manager


_manager = new_manager()


def claims(group: str = GROUP) -> tuple[Claim, ...]:
    """Every installed claim to a scheme, sorted; an editable install that is seen twice counts once."""
    found = set()
    for entry in metadata.entry_points(group=group):
        name, version = ("?", "?") if entry.dist is None else (entry.dist.name, entry.dist.version)
        found.add((entry.name, name, version, entry.value))
    return tuple(Claim(*claim) for claim in sorted(found))


def find(scheme: str) -> BackendPlugin:
    """The plugin for ``scheme``. Raises ``UnknownScheme``, or ``PluginError`` for one that can't be used."""
    with _lock:
        plugin = _found.get(scheme)
        if plugin is None:
            plugin = _found[scheme] = _load(scheme)
        return plugin


def register(plugin: object, scheme: str) -> None:
    """Make ``plugin`` (a module or object with the hook) serve ``scheme`` in this process, without an entry point."""
    with _lock:
        if scheme in _found or any(claim.scheme == scheme for claim in claims()):
            raise PluginError(f"the scheme {scheme!r} is taken already")
        _manager.register(plugin, name=scheme)
        _found[scheme] = _describe(scheme, f"{plugin!r}")


def unregister(scheme: str) -> None:
    """Undo :func:`register`."""
    with _lock:
        _found.pop(scheme, None)
        _manager.unregister(name=scheme)


def default_url() -> str:
    """The URL of the embedded store, where an installed plugin offers one. Raises ``ConfigError`` otherwise,
    ``PluginError`` where the plugin fails."""
    for entry in metadata.entry_points(group=DEFAULT_URL_GROUP):
        try:
            return str(entry.load()())
        except TenureError:
            raise
        except Exception as exc:
            raise PluginError(
                f"the default store ({entry.value}) can't be used: {type(exc).__name__}: {exc}; give a store's URL"
            ) from exc
    raise ConfigError("no URL was given and no installed plugin offers a default: give a store's URL")


def missing_modules(plugin: BackendPlugin) -> list[str]:
    """The modules of its client library that ``plugin`` declares and that can't be found here."""
    return [module for module in plugin.required_modules if not _findable(module)]


def install_hint(plugin: BackendPlugin) -> str:
    """What to type so that the client library of ``plugin`` is there."""
    what = f"'tenure[{plugin.pip_extra}]'" if plugin.pip_extra else " ".join(missing_modules(plugin))
    return f"pip install {what}"


def _findable(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # a dotted name whose parent isn't there either
        return False


def _load(scheme: str) -> BackendPlugin:
    candidates = [claim for claim in claims() if claim.scheme == scheme]
    if not candidates:
        raise UnknownScheme(_unknown(scheme))
    distributions = sorted({claim.distribution for claim in candidates})
    if len(distributions) > 1:
        raise PluginError(
            f"the scheme {scheme!r} is claimed by several distributions ({', '.join(distributions)}): "
            "uninstall all but one"
        )
    source = f"{candidates[0].module} of {candidates[0].distribution} {candidates[0].version}"
    try:
        _manager.load_setuptools_entrypoints(GROUP, name=scheme)
    except (Exception, SystemExit) as exc:
        # Whatever a foreign module raises while it is imported: it must not look like the caller's own error.
        raise PluginError(
            f"the plugin for {scheme}:// ({source}) failed to import: {type(exc).__name__}: {exc}"
        ) from exc
    return _describe(scheme, source)


def _describe(scheme: str, source: str) -> BackendPlugin:
    """Ask the plugin registered as ``scheme``, and only that one, what it is."""
    try:
        _manager.check_pending()
        others = [plugin for name, plugin in _manager.list_name_plugin() if name != scheme and plugin is not None]
        described = _manager.subset_hook_caller("tenure_backend", remove_plugins=others)()
    except Exception as exc:
        _forget(scheme)
        raise PluginError(f"the plugin for {scheme}:// ({source}) is broken: {exc}") from exc
    if not isinstance(described, BackendPlugin):
        _forget(scheme)
        raise PluginError(
            f"the plugin for {scheme}:// ({source}) is broken: its hook tenure_backend returned "
            f"{type(described).__name__}, a BackendPlugin is needed"
        )
    if described.scheme != scheme:
        _forget(scheme)
        raise PluginError(
            f"the plugin ({source}) is installed for {scheme}:// but says it serves {described.scheme}://"
        )
    return described


def _forget(scheme: str) -> None:
    if _manager.has_plugin(scheme):
        _manager.unregister(name=scheme)


def _unknown(scheme: str) -> str:
    known = sorted({claim.scheme for claim in claims()})
    close = difflib.get_close_matches(scheme, known, n=1)
    hint = f" Did you mean {close[0]}://?" if close else ""
    return (
        f"no installed plugin serves {scheme}://.{hint} Installed: {', '.join(known) or 'none'}. "
        "A store's plugin comes with tenure itself or with a distribution of its own: 'pip install' that one"
    )
