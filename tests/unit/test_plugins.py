"""Finding plugins: broken ones say what is wrong with them and break nobody else; nothing is loaded unasked.

The plugins here are installed as far as anyone can tell: distributions with metadata in a folder on ``sys.path``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import threading

import pytest

import tenure
import tenure.plugin_kit
import tenure.registry
from tenure._client.opening import connect
from tenure._plugins import discovery
from tenure.errors import ConfigError, PluginError, UnknownScheme
from tenure_memory.backend import MemoryBackend

_GOOD = """
    from tenure.hookspecs import hookimpl
    from tenure.spi import BackendPlugin, UrlForm

    @hookimpl
    def tenure_backend():
        return BackendPlugin(
            scheme={scheme!r}, summary="", open=lambda request: None, url_form=UrlForm.NAME, spi_version=1{more}
        )
"""

_OF_VERSION_0 = """
    from tenure.hookspecs import hookimpl
    from tenure.spi import Backend, BackendPlugin, Page, PollingFeed, ReadResult, UrlForm

    class OldBackend(Backend):
        def get(self, key, *, timeout):
            return ReadResult(None, 0)

        def list(self, prefix, *, after, limit, revision, timeout):
            return Page((), has_more=False, revision=0)

        def watch(self, prefix, *, after, sink, timeout):
            return PollingFeed(lambda: None, sink, interval=1.0, name="old")

    @hookimpl
    def tenure_backend():
        return BackendPlugin(scheme="ct-old", summary="", open=OldBackend, url_form=UrlForm.NAME)
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Installs a distribution that claims a scheme with a module of the given text."""
    monkeypatch.syspath_prepend(tmp_path)
    schemes = []

    def install(distribution, scheme, text, module=None):
        module = module or f"{distribution}_module"
        folder = tmp_path / f"{distribution}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        (folder / "entry_points.txt").write_text(f"[tenure.backends]\n{scheme} = {module}\n")
        (tmp_path / f"{module}.py").write_text(textwrap.dedent(text))
        schemes.append(scheme)
        monkeypatch.delitem(sys.modules, module, raising=False)

    yield install
    for scheme in schemes:
        discovery.unregister(scheme)


def test_a_good_plugin_of_another_distribution(install):
    install("good", "ct-good", _GOOD.format(scheme="ct-good", more=""))
    assert discovery.find("ct-good").scheme == "ct-good"
    assert discovery.find("ct-good") is discovery.find("ct-good")
    claim = next(claim for claim in discovery.claims() if claim.scheme == "ct-good")
    assert (claim.distribution, claim.version, claim.module) == ("good", "1.0", "good_module")


def test_an_open_that_returns_no_backend(install):
    install("nothing", "ct-nothing", _GOOD.format(scheme="ct-nothing", more=""))
    with pytest.raises(PluginError, match="open returned NoneType, not a Backend"):
        connect("ct-nothing://x")


@pytest.mark.parametrize(("name", "value"), [("capabilities", {}), ("history", property(lambda self: {}["none"]))])
def test_a_backend_that_can_not_tell_of_itself(name, value, monkeypatch):
    monkeypatch.setattr(MemoryBackend, name, value)
    with pytest.raises(PluginError, match=r"opening memory://: the plugin for memory:// is broken: .* untranslated"):
        connect("memory://")


BROKEN = {
    "import": (
        "import no_such_module_anywhere",
        "importing the plugin .*: ModuleNotFoundError: .*no_such_module_anywhere",
    ),
    "syntax": ("def x(:", "importing the plugin .*: SyntaxError"),
    "raises": ("raise OSError('no licence')", "importing the plugin .*: OSError: no licence"),
    "exits": ("raise SystemExit(3)", "importing the plugin .*: SystemExit: 3"),
    "no_hook": ("", "returned NoneType, not a BackendPlugin"),
    "misspelt": (
        "from tenure.hookspecs import hookimpl\n@hookimpl\ndef tenure_backed():\n    return 1",
        "tenure_backed",
    ),
    "argument": (
        "from tenure.hookspecs import hookimpl\n@hookimpl\ndef tenure_backend(config):\n    return 1",
        "config",
    ),
    "type": (
        "from tenure.hookspecs import hookimpl\n@hookimpl\ndef tenure_backend():\n    return 'a plugin'",
        "returned str, not a BackendPlugin",
    ),
    "hook_raises": (
        "from tenure.hookspecs import hookimpl\n@hookimpl\ndef tenure_backend():\n    raise KeyError('bug')",
        "is broken: 'bug'",
    ),
    "scheme": (_GOOD.format(scheme="other", more=""), "installed for ct-scheme:// but its description names other://"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_says_what_and_whose_it_is_each_time(install, name):
    text, words = BROKEN[name]
    scheme = f"ct-{name.replace('_', '-')}"
    install(f"broken_{name}", scheme, text)
    for _ in range(2):
        with pytest.raises(PluginError, match=f"(?s){words}") as caught:
            connect(f"{scheme}://x")
        assert f"broken_{name}" in str(caught.value)
    connect("memory://").close()


def test_two_distributions_that_claim_one_scheme_are_named_and_neither_is_imported(install):
    install("ours", "ct-twice", "raise AssertionError('imported')")
    install("theirs", "ct-twice", "raise AssertionError('imported')")
    with pytest.raises(PluginError, match=r"claimed by several distributions \(ours, theirs\); uninstall all but one"):
        discovery.find("ct-twice")


def test_a_missing_client_gets_told_what_to_install(install):
    install("client", "ct-client", _GOOD.format(scheme="ct-client", more=", required_modules=('no_such.client',)"))
    with pytest.raises(ConfigError, match=r"needs no_such\.client, which isn't installed; pip install"):
        connect("ct-client://x")


@pytest.mark.parametrize(("scheme", "words"), [("memroy", r"Did you mean memory://\?"), ("zzz", "Installed: .*memory")])
def test_an_unknown_scheme(scheme, words):
    with pytest.raises(UnknownScheme, match=words):
        connect(f"{scheme}://x")


def test_registering_by_hand(install):
    with pytest.raises(PluginError, match="taken already"):
        discovery.register(object(), "memory")


def test_many_threads_that_ask_first_get_the_same_plugin(install):
    install("race", "ct-race", _GOOD.format(scheme="ct-race", more=""))
    found, together = [], threading.Barrier(8)

    def find():
        together.wait(10)
        found.append(discovery.find("ct-race"))

    threads = [threading.Thread(target=find) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60.0)
    assert len(found) == 8
    assert len({id(plugin) for plugin in found}) == 1


_CLIENTS = (
    "etcd3",
    "grpc",
    "google.protobuf",
    "redis",
    "hiredis",
    "kazoo",
    "consul",
    "sqlite3",
    "click",
    "rich",
    "pytest",
)


def _modules_after(code: str) -> set[str]:
    script = f"{code}\nimport json, sys\nprint(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def _ours(modules: set[str]) -> set[str]:
    return {module.partition(".")[0] for module in modules if module.startswith("tenure")}


def test_importing_tenure_loads_no_client_and_no_plugin():
    modules = _modules_after("import tenure")
    assert not modules & set(_CLIENTS)
    assert _ours(modules) == {"tenure"}


def test_connecting_imports_the_plugin_asked_for_and_no_other():
    modules = _modules_after("import tenure\ntenure.connect('memory://').close()")
    assert not modules & set(_CLIENTS)
    assert _ours(modules) == {"tenure", "tenure_memory"}


def test_importing_tenure_is_quick():
    """What costs most while a program starts isn't imported; seconds are for the benchmarks."""
    modules = _modules_after("import tenure")
    heavy = {
        "asyncio",
        "concurrent.futures.process",
        "ctypes",
        "http.client",
        "multiprocessing",
        "sqlite3",
        "ssl",
        "xml",
    }
    assert not modules & heavy


@pytest.mark.parametrize("module", ["tenure", "tenure.registry", "tenure.plugin_kit"])
def test_an_import_loads_what_is_used_of_it_and_nothing_else(module):
    modules = _modules_after(f"import {module}")
    assert {name for name in modules if name.startswith("tenure")} == {"tenure", "tenure._later", module}
    assert not modules & {"dataclasses", "logging", "threading"}


def test_a_module_whose_names_are_imported_later_lists_them_all():
    for public in (tenure, tenure.plugin_kit, tenure.registry):
        assert {*public.__all__} <= {*dir(public)}
        assert all(getattr(public, name) is not None for name in public.__all__)


def test_a_plugin_of_spi_version_0_is_told_what_to_change(install):
    install("old", "ct-old", _OF_VERSION_0)
    for _ in range(2):
        with pytest.raises(PluginError) as caught:
            connect("ct-old://any")
        said = str(caught.value)
        assert "old_module of old 1.0" in said
        assert "was written for version 0 of the SPI, and this Tenure has version 1" in said
        for change in (
            "list(request, *, timeout) takes a ListRequest",
            "watch(request, *, sink, timeout) takes a WatchRequest",
            "a feed raises HistoryReplaced",
            "spi_version=1",
            "core/docs/reference/spi-versions.md",
        ):
            assert change in said


def test_a_plugin_of_a_later_spi_version_wants_a_later_tenure(install):
    install("later", "ct-later", _GOOD.format(scheme="ct-later", more="").replace("spi_version=1", "spi_version=2"))
    with pytest.raises(
        PluginError, match="written for version 2 of the SPI, and this Tenure has version 1; update Ten"
    ):
        connect("ct-later://any")


def test_importing_tenure_imports_neither_pluggy_nor_the_search_for_plugins() -> None:
    """They are half of the time that an import takes, and are needed once a store is opened."""
    program = (
        "import sys, tenure, tenure.registry; print([m for m in ('pluggy', 'importlib.metadata') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
