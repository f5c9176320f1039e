"""What installing brings into a fresh virtual environment, and what importing loads."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from leasehold import plugins

ROOT = Path(__file__).parents[2]
Environment = Any
"""The class of this name in conftest.py, which can't be imported from."""

CLIENTS = ("etcd3", "grpc", "google.protobuf", "redis", "kazoo", "consul", "click", "rich", "pytest", "sqlite3")


def test_the_tests_run_on_what_is_installed() -> None:
    if "LEASEHOLD_TEST_INSTALLED" not in os.environ:
        pytest.skip("only tox promises to test the wheel; elsewhere the tree may be installed as editable")
    import leasehold

    assert Path(leasehold.__file__).is_relative_to(sys.prefix)
    assert "leasehold" in {claim.distribution for claim in plugins.claims()}
    assert metadata.version("leasehold") == leasehold.__version__


def test_wheel_pulls_pluggy_and_nothing_else(bare: Environment) -> None:
    assert sorted(bare.installed()) == ["leasehold", "pluggy"]
    assert (
        bare.python(
            "import leasehold\n"
            "with leasehold.connect('memory://') as store:\n"
            "    store.put('a', b'1'); print(store.get('a').value)"
        )
        == "b'1'\n"
    )


def test_import_loads_no_client_and_no_plugin(full: Environment) -> None:
    loaded = full.python("import sys, leasehold, leasehold.registry; print(*sys.modules)").split()
    wrong = [name for name in loaded if name.startswith("leasehold_") or name in CLIENTS]
    assert wrong == [], "imported together with leasehold, although nobody has opened a store yet"


def test_describing_a_plugin_loads_no_client(bare: Environment) -> None:
    ours = [claim for claim in plugins.claims() if claim.distribution == "leasehold"]
    assert ours
    for claim in ours:
        # Works without the client library being installed, so it can't have been imported.
        code = f"from leasehold import plugins; print(plugins.find({claim.scheme!r}).scheme)"
        assert bare.python(code).strip() == claim.scheme


def test_missing_extra_is_named(bare: Environment) -> None:
    said = bare.python(
        "import leasehold\ntry: leasehold.connect('etcd://127.0.0.1:1')\nexcept leasehold.ConfigError as e: print(e)"
    )
    assert "pip install 'leasehold[etcd]'" in said


def test_editable_install(new_environment: Callable[[], Environment]) -> None:
    environment = new_environment()
    environment.pip_install("--editable", ROOT)
    where = environment.python(
        "import leasehold; from leasehold import plugins; plugins.find('memory'); print(leasehold.__file__)"
    )
    assert Path(where.strip()) == ROOT / "core/leasehold/__init__.py"
    assert "leasehold" in environment.installed()


@pytest.mark.parametrize("protobuf", ["protobuf", "protobuf<6", "protobuf<5"])
def test_etcd_extra_beside_newest_and_older_protobuf(
    new_environment: Callable[[], Environment], wheel: Path, protobuf: str
) -> None:
    environment = new_environment()
    environment.pip_install(f"leasehold[etcd] @ {wheel.as_uri()}", protobuf)
    environment.python(
        "import leasehold\n"
        "try: leasehold.connect('etcd://127.0.0.1:1', timeout=0.5)\n"
        "except leasehold.Unavailable: pass\n"
        "import etcd3, grpc, google.protobuf"
    )
    assert int(environment.installed()["protobuf"].partition(".")[0]) >= 4


def test_etcd_extra_holds_nothing_back(new_environment: Callable[[], Environment], wheel: Path) -> None:
    plain, with_extra = new_environment(), new_environment()
    plain.pip_install("grpcio", "protobuf", "six", "tenacity")
    with_extra.pip_install(f"leasehold[etcd] @ {wheel.as_uri()}")
    newest, got = plain.installed(), with_extra.installed()
    held_back = {name: (got[name], version) for name, version in newest.items() if got.get(name, version) != version}
    assert held_back == {}, "installed in an older version than without leasehold[etcd]: {name: (got, newest)}"
