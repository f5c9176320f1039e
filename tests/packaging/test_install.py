"""What installing brings into a fresh virtual environment, and what importing loads."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from tenure._plugins import discovery

ROOT = Path(__file__).parents[2]
Environment = Any
"""The class of this name in conftest.py, which can't be imported from."""

CLIENTS = ("etcd3", "grpc", "google.protobuf", "redis", "kazoo", "consul", "click", "rich", "pytest", "sqlite3")


def test_the_tests_run_on_what_is_installed() -> None:
    if "TENURE_TEST_INSTALLED" not in os.environ:
        pytest.skip("only tox promises to test the wheel; elsewhere the tree may be installed as editable")
    import tenure

    assert Path(tenure.__file__).is_relative_to(sys.prefix)
    assert "tenure" in {claim.distribution for claim in discovery.claims()}
    assert metadata.version("tenure") == tenure.__version__


def test_wheel_pulls_pluggy_and_nothing_else(bare: Environment) -> None:
    assert sorted(bare.installed()) == ["pluggy", "tenure"]
    assert (
        bare.python(
            "import tenure\n"
            "with tenure.connect('memory://') as store:\n"
            "    store.put('a', b'1'); print(store.get('a').value)"
        )
        == "b'1'\n"
    )


def test_import_loads_no_client_and_no_plugin(full: Environment) -> None:
    loaded = full.python("import sys, tenure, tenure.registry; print(*sys.modules)").split()
    wrong = [name for name in loaded if name.startswith("tenure_") or name in CLIENTS]
    assert wrong == [], "imported together with tenure, although nobody has opened a store yet"


def test_a_report_is_written_and_verified_by_what_was_installed(full: Environment) -> None:
    code = (
        "import subprocess, sys\n"
        "command = [sys.executable, '-m', 'tenure.cli', 'conformance']\n"
        "def tenure(*words): subprocess.run([*command, *words], check=True)\n"
        "tenure('memory://x', '--rule', 'kv.a_written*', '--report', 'r.json', '--html', 'r.html')\n"
        "tenure('verify', 'r.json')\n"
        "page = open('r.html', encoding='utf-8').read()\n"
        "print('<style>' in page, '<script' in page)"
    )
    assert full.python(code).splitlines()[-1] == "True True"


def test_describing_a_plugin_loads_no_client(bare: Environment) -> None:
    ours = [claim for claim in discovery.claims() if claim.distribution == "tenure"]
    assert ours
    for claim in ours:
        # Works without the client library being installed, so it can't have been imported.
        code = f"from tenure._plugins import discovery as plugins; print(plugins.find({claim.scheme!r}).scheme)"
        assert bare.python(code).strip() == claim.scheme


def test_missing_extra_is_named(bare: Environment) -> None:
    said = bare.python(
        "import tenure\ntry: tenure.connect('etcd://127.0.0.1:1')\nexcept tenure.ConfigError as e: print(e)"
    )
    assert "pip install 'tenure[etcd]'" in said


def test_editable_install(new_environment: Callable[[], Environment]) -> None:
    environment = new_environment()
    environment.install("--editable", ROOT)
    where = environment.python(
        "import tenure; from tenure._plugins import discovery; discovery.find('memory'); print(tenure.__file__)"
    )
    assert Path(where.strip()) == ROOT / "core/tenure/__init__.py"
    assert sorted(environment.installed()) == ["pluggy", "tenure"]


@pytest.mark.parametrize("major", [7, 6, 5, 4])
def test_etcd_client_beside_any_protobuf(full: Environment, major: int) -> None:
    full.install(f"protobuf=={major}.*")
    full.pip("check")
    full.python(
        "import tenure\n"
        "try: tenure.connect('etcd://127.0.0.1:1', timeout=0.5)\n"
        "except tenure.Unavailable: pass\n"
        "import etcd3, grpc, google.protobuf\n"
        f"assert google.protobuf.__version__.startswith('{major}.')"
    )


def test_extras_hold_nothing_back(bare: Environment, wheel: Path) -> None:
    got = bare.would_install(f"tenure[all] @ {wheel.as_uri()}")
    others = sorted(name for name in got if name not in ("tenure", "etcd3"))
    newest = bare.would_install(*others)
    held_back = {name: (version, newest[name]) for name, version in got.items() if newest.get(name, version) != version}
    assert held_back == {}, "older than without tenure: {name: (with it, newest)}"
