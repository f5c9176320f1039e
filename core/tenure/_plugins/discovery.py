"""Find store plugins by entry point, one scheme at a time, when a URL names the scheme.

Other plugins are not imported, so a broken plugin breaks only its own scheme. If two distributions claim one
scheme, that is an error before either is imported: the plugin manager would silently take the first.

Whatever looks for plugins imports ``importlib.metadata``, which brings a parser of mail and of archives along, and
pluggy. Both are imported when a store is opened for the first time: a program that only imports Tenure saves half of
its start.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import queue
import threading
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from tenure._runtime.interruption import interruption
from tenure._runtime.thread_start import start_thread
from tenure._suggestions import closest
from tenure.errors import ConfigError, PluginError, TenureError, UnknownScheme
from tenure.spi.plugin import SPI_VERSION, BackendPlugin

if TYPE_CHECKING:
    import pluggy

GROUP = "tenure.backends"
_IN_CORE = {"agent": "tenure.agent.plugin"}
"""Schemes that lead to a store in another way, each with its module. They are no stores, and nobody may claim them."""
DEFAULT_URL_GROUP = "tenure.default_url"

_TO_CHANGE = (
    "update the plugin, or change it: list(request, *, timeout) takes a ListRequest, watch(request, *, sink, timeout) "
    "takes a WatchRequest, a feed raises HistoryReplaced where its revision belongs to another history, and the "
    "description says spi_version=1; core/docs/reference/spi-versions.md has the steps"
)

_lock = threading.RLock()  # pluggy's registration isn't thread-safe
# No fork happens in the middle of a registration, so that a child finds the lock free and the plugins consistent.
os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)
_found: dict[str, BackendPlugin] = {}


@dataclass(frozen=True, slots=True)
class Claim:
    """An entry point that claims a scheme. Its module has not been imported."""

    scheme: str
    distribution: str
    version: str
    module: str


def new_manager() -> pluggy.PluginManager:
    """Return a plugin manager with Tenure's hooks and no plugins."""
    import pluggy  # noqa: PLC0415 - see above

    from tenure import hookspecs  # noqa: PLC0415 - it imports pluggy

    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    return manager


@cache
def _manager() -> pluggy.PluginManager:
    """Return the manager of this process. The caller holds the lock."""
    return new_manager()


def claims(group: str = GROUP) -> tuple[Claim, ...]:
    """Return every installed claim to a scheme, sorted. An editable install that is found twice counts once.

    ``importlib.metadata`` takes an exception of a signal handler for an empty folder, and remembers that. No signal
    handler runs on the thread that looks here.
    """
    answer: queue.SimpleQueue[tuple[Claim, ...] | BaseException] = queue.SimpleQueue()

    def look() -> None:
        try:
            answer.put(_claims(group))
        except BaseException as exc:  # noqa: BLE001 - raised in the caller
            answer.put(exc)

    try:
        start_thread(threading.Thread(target=look, name="tenure-plugins", daemon=True))
    except RuntimeError:  # too many threads, or the interpreter is ending
        return _claims(group)
    found = answer.get()
    if isinstance(found, BaseException):
        raise found
    return found


def _claims(group: str) -> tuple[Claim, ...]:
    from importlib import metadata  # noqa: PLC0415 - see above

    found = set()
    for entry in metadata.entry_points(group=group):
        name, version = ("?", "?") if entry.dist is None else (entry.dist.name, entry.dist.version)
        found.add((entry.name, name, version, entry.value))
    return tuple(Claim(*claim) for claim in sorted(found))


def find(scheme: str) -> BackendPlugin:
    """Return the plugin for ``scheme``. Raises ``UnknownScheme``, or ``PluginError`` if the plugin is broken."""
    with _lock:
        plugin = _found.get(scheme)
        if plugin is None:
            plugin = _found[scheme] = _load(scheme)
        return plugin


def register(plugin: object, scheme: str) -> None:
    """Make ``plugin`` (a module or object with the hook) serve ``scheme`` in this process, without an entry point."""
    with _lock:
        if scheme in _found or scheme in _IN_CORE or any(claim.scheme == scheme for claim in claims()):
            raise PluginError(
                f"registering a plugin for {scheme!r}: the scheme is taken already; choose another one, or unregister "
                "the plugin that has it"
            )
        _manager().register(plugin, name=scheme)
        _found[scheme] = _describe(scheme, f"{plugin!r}")


def unregister(scheme: str) -> None:
    """Undo :func:`register`."""
    with _lock:
        _found.pop(scheme, None)
        _manager().unregister(name=scheme)


def default_url() -> str:
    """Return the URL of the embedded store that an installed plugin offers.

    Raises ``ConfigError`` if no plugin offers one, ``PluginError`` if the plugin fails.
    """
    from importlib import metadata  # noqa: PLC0415 - see above

    for entry in metadata.entry_points(group=DEFAULT_URL_GROUP):
        try:
            return str(entry.load()())
        except TenureError:
            raise
        except Exception as exc:
            if interruption(exc) is not None:
                raise
            raise PluginError(
                f"finding the default store ({entry.value}): {type(exc).__name__}: {exc}; give a store's URL"
            ) from exc
    raise ConfigError(
        "finding the default store: no URL was given and no installed plugin offers a default; give a store's URL"
    )


def missing_modules(plugin: BackendPlugin) -> list[str]:
    """Return the modules of its client library that ``plugin`` declares and that aren't installed."""
    return [module for module in plugin.required_modules if not _findable(module)]


def install_hint(plugin: BackendPlugin) -> str:
    """Return the command that installs the client library of ``plugin``."""
    if not plugin.pip_extra:
        return f"pip install {' '.join(missing_modules(plugin))}"
    return f"pip install 'tenure[{plugin.pip_extra}]' or, in a checkout, pip install '.[{plugin.pip_extra}]'"


def _findable(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # a dotted name whose parent isn't installed either
        return False


def _load(scheme: str) -> BackendPlugin:
    if scheme in _IN_CORE:
        module = importlib.import_module(_IN_CORE[scheme])
        if not _manager().has_plugin(scheme):
            _manager().register(module, name=scheme)
        return _describe(scheme, module.__name__)
    candidates = [claim for claim in claims() if claim.scheme == scheme]
    if not candidates:
        raise UnknownScheme(_unknown(scheme))
    distributions = sorted({claim.distribution for claim in candidates})
    if len(distributions) > 1:
        raise PluginError(
            f"loading the plugin for {scheme}://: the scheme is claimed by several distributions "
            f"({', '.join(distributions)}); uninstall all but one"
        )
    source = f"{candidates[0].module} of {candidates[0].distribution} {candidates[0].version}"
    try:
        _manager().load_setuptools_entrypoints(GROUP, name=scheme)
    except (Exception, SystemExit) as exc:
        # A third-party module may raise anything while it is imported; it must not look like the caller's own error.
        raise PluginError(
            f"importing the plugin for {scheme}:// ({source}): {type(exc).__name__}: {exc}; update or uninstall the "
            "plugin"
        ) from exc
    return _describe(scheme, source)


def _describe(scheme: str, source: str) -> BackendPlugin:
    """Call the hook of the plugin registered as ``scheme``, and of no other."""
    try:
        _manager().check_pending()
        others = [plugin for name, plugin in _manager().list_name_plugin() if name != scheme and plugin is not None]
        described = _manager().subset_hook_caller("tenure_backend", remove_plugins=others)()
    except Exception as exc:
        _forget(scheme)
        if interruption(exc) is not None:
            raise
        raise PluginError(
            f"loading the plugin for {scheme}:// ({source}): the plugin is broken: {exc}; update or uninstall the "
            "plugin"
        ) from exc
    if not isinstance(described, BackendPlugin):
        _forget(scheme)
        raise PluginError(
            f"loading the plugin for {scheme}:// ({source}): its hook tenure_backend returned "
            f"{type(described).__name__}, not a BackendPlugin; update or uninstall the plugin"
        )
    if described.scheme != scheme:
        _forget(scheme)
        raise PluginError(
            f"loading the plugin for {scheme}:// ({source}): the plugin is installed for {scheme}:// but its "
            f"description names {described.scheme}://; update or uninstall the plugin"
        )
    if described.spi_version != SPI_VERSION:
        _forget(scheme)
        advice = _TO_CHANGE if described.spi_version < SPI_VERSION else "update Tenure, or install an older plugin"
        raise PluginError(
            f"loading the plugin for {scheme}:// ({source}): the plugin was written for version "
            f"{described.spi_version} of the SPI, and this Tenure has version {SPI_VERSION}; {advice}"
        )
    return described


def _forget(scheme: str) -> None:
    if _manager().has_plugin(scheme):
        _manager().unregister(name=scheme)


def _meant(scheme: str, known: list[str]) -> str | None:
    """Return what a scheme of another program is called here. A final ``s`` means TLS, as in ``https``."""
    plain = scheme.removesuffix("s")
    if plain != scheme and plain in known:
        return f"{plain}+tls"
    return next((name for name in known if len(scheme) > 2 and name.startswith(scheme)), None) or closest(scheme, known)


def _unknown(scheme: str) -> str:
    known = sorted({claim.scheme for claim in claims()})
    close = _meant(scheme, known)
    hint = f" Did you mean {close}://?" if close else ""
    if scheme in ("http", "https"):
        hint = f" Name the store, not its protocol{', and +tls, as in SCHEME+tls://' if scheme == 'https' else ''}."
    return (
        f"opening a store: no installed plugin serves {scheme}://.{hint} Installed: {', '.join(known) or 'none'}; "
        "correct the scheme, or 'pip install' the distribution that serves it (README's table of stores names some)"
    )
