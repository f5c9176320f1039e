"""Plugins know nothing of each other: none imports another, and each can be taken away."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

SCHEMES = ("memory", "sqlite", "etcd", "redis", "zookeeper", "consul")

PROBE = """
import json, sys
import tenure
from tenure._plugins import discovery as plugins
from tenure.errors import ConfigError, UnknownScheme

removed, folder, *others = sys.argv[1:]
said = {"where": tenure.__file__, "found": [], "sessions": []}
said["claimed"] = sorted(claim.scheme for claim in plugins.claims())
for scheme in others:
    plugin = plugins.find(scheme)
    assert plugin.scheme == scheme
    assert not plugins.missing_modules(plugin)
    said["found"].append(scheme)
try:
    tenure.connect(f"{removed}://127.0.0.1:1/x")
except UnknownScheme as exc:
    said["unknown"] = str(exc)
try:
    said["default"] = plugins.default_url()
except ConfigError as exc:
    said["default"] = ""
for scheme, url in {"memory": "memory://apart", "sqlite": f"sqlite:///{folder}/apart.db"}.items():
    if scheme in others:
        with tenure.connect(url) as store:
            lease = store.lease(5.0)
            store.put("key", b"value", lease=lease)
            watch = store.watch("")
            assert [event.key for event in watch.next(5.0).events] == ["key"]
            lease.revoke()
            assert store.get("key") is None
        said["sessions"].append(scheme)
said["foreign"] = sorted(name for name in sys.modules if name.split(".")[0] == f"tenure_{removed}")
print(json.dumps(said))
"""


def package(name: str) -> Path:
    """The folder that this package is imported from, be it the tree or an installed wheel."""
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


@pytest.mark.parametrize("scheme", SCHEMES)
def test_no_plugin_names_another(scheme: str) -> None:
    others = tuple(f"tenure_{other}" for other in SCHEMES if other != scheme)
    modules = sorted(package(f"tenure_{scheme}").rglob("*.py"))
    assert modules
    found = []
    for path in modules:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                named = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                named = [node.module or ""]
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                named = [node.value]  # what import_module() would be given
            else:
                continue
            found += [f"{path}:{node.lineno} {name}" for name in named if name.partition(".")[0] in others]
    assert not found


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything that is installed here, but for Tenure: links, so that nothing is installed for this."""
    folder = tmp_path_factory.mktemp("libraries")
    for place in dict.fromkeys((sysconfig.get_path("purelib"), sysconfig.get_path("platlib"))):
        for entry in Path(place).iterdir():
            if "tenure" not in entry.name and entry.suffix != ".pth" and not (folder / entry.name).exists():
                (folder / entry.name).symlink_to(entry)
    return folder


def installed_without(scheme: str, folder: Path) -> None:
    """Tenure as pip would lay it out in ``folder``, less one plugin's package and entry points."""
    kept = [other for other in SCHEMES if other != scheme]
    for name in ("tenure", *(f"tenure_{other}" for other in kept)):
        shutil.copytree(package(name), folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    described = folder / "tenure-0.0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: tenure\nVersion: 0.0\n")
    lines = ["[tenure.backends]", *(f"{other} = tenure_{other}.plugin" for other in kept)]
    if "sqlite" in kept:
        lines += ["[tenure.default_url]", "embedded = tenure_sqlite.plugin:default_url"]
    (described / "entry_points.txt").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_others_work_without_one(scheme: str, tmp_path: Path, libraries: Path) -> None:
    others = [other for other in SCHEMES if other != scheme]
    folder = tmp_path / "site"
    folder.mkdir()
    installed_without(scheme, folder)
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "TENURE"))}
    environment |= {
        "PYTHONPATH": f"{folder}{os.pathsep}{libraries}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "XDG_DATA_HOME": str(tmp_path),
        "COLUMNS": "200",
    }

    def python(*arguments: str) -> subprocess.CompletedProcess[str]:
        # -S: what is installed for this interpreter, the whole of Tenure among it, is out of sight.
        command = [sys.executable, "-S", "-P", *arguments]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    done = python("-c", PROBE, scheme, str(tmp_path), *others)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert Path(said["where"]).is_relative_to(folder)
    assert said["claimed"] == sorted(others)
    assert said["found"] == others
    assert said["sessions"] == [other for other in ("memory", "sqlite") if other != scheme]
    assert f"no installed plugin serves {scheme}://" in said["unknown"]
    assert bool(said["default"]) == (scheme != "sqlite")
    assert said["foreign"] == []

    listed = python("-m", "tenure.cli", "backends", "--json")
    assert listed.returncode == 0, listed.stderr
    states = {record["scheme"]: record["state"] for record in json.loads(listed.stdout)}
    assert states == dict.fromkeys(others, "ready")

    refused = python("-m", "tenure.cli", "kv", "get", "--url", f"{scheme}://127.0.0.1:1/x", "key")
    assert refused.returncode == 2, refused.stderr
    assert f"no installed plugin serves {scheme}://" in refused.stderr
