"""`tenure new-backend`: what is written where, and what is refused before anything is.

That what it writes passes its own checks, on the built wheel, is tested in tests/packaging.
"""

from __future__ import annotations

import ast
import gc
import importlib
import socket
import sys
import tomllib
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import tenure
from tenure._plugins import discovery
from tenure.conformance.controls.ready_made import ServerProcess
from tenure_testkit.waiting import PATIENCE

from .conftest import Run


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_whole_package_is_written(run: Run, here: Path) -> None:
    result = run("new-backend", "satchel")
    assert result.exit_code == 0, result.output
    assert sorted(files(here / "tenure-satchel")) == [
        ".gitignore",
        "README.md",
        "check",
        "pyproject.toml",
        "tenure_satchel/__init__.py",
        "tenure_satchel/backend.py",
        "tenure_satchel/plugin.py",
        "tenure_satchel/py.typed",
        "tests/test_conformance.py",
    ]
    for step in (
        "cd tenure-satchel",
        "pip install -e '.[test]'",
        "pytest",
        "grep -rnI REPLACE tenure_satchel tests",
    ):
        assert f"  {step}\n" in result.stdout


def test_as_json(run_json: Any, here: Path) -> None:
    found = run_json("new-backend", "Satchel.Store", "--scheme", "satchel", "--directory", str(here / "some" / "place"))
    assert found["distribution"] == "tenure-satchel-store"
    assert found["package"] == "tenure_satchel_store"
    assert found["scheme"] == "satchel"
    assert found["files"] == sorted(files(here / "some" / "place"))
    assert found["next"][0] == f"cd {here / 'some' / 'place'}"


def test_names_go_together(run: Run, here: Path) -> None:
    assert run("new-backend", "tenure-satchel-knife", "--directory", ".").exit_code == 0
    project = tomllib.loads((here / "pyproject.toml").read_text())["project"]
    assert project["name"] == "tenure-satchel-knife"
    assert project["entry-points"]["tenure.backends"] == {"satchel-knife": "tenure_satchel_knife.plugin"}
    written = files(here)
    assert 'scheme="satchel-knife"' in written["tenure_satchel_knife/plugin.py"]
    assert "class SatchelKnifeBackend(Backend)" in written["tenure_satchel_knife/backend.py"]
    assert "class TestSatchelKnife(StoreConformance)" in written["tests/test_conformance.py"]
    assert "cd " not in run("new-backend", "other", "--directory", ".").output


@pytest.mark.parametrize(
    ("url_form", "where"),
    [("name", "request.path"), ("file", "request.path"), ("hosts", "request.hosts")],
)
def test_each_kind_of_address(run: Run, here: Path, url_form: str, where: str) -> None:
    assert run("new-backend", "satchel", "--url-form", url_form).exit_code == 0
    written = files(here / "tenure-satchel")
    assert f"url_form=UrlForm.{url_form.upper()}," in written["tenure_satchel/plugin.py"]
    assert ("default_port=" in written["tenure_satchel/plugin.py"]) == (url_form == "hosts")
    assert where in written["tenure_satchel/backend.py"]
    for name, text in written.items():
        assert "$" not in text or name == "check", f"a placeholder was left in {name}"
        if name.endswith(".py"):
            ast.parse(text)
            assert [line for line in text.splitlines() if len(line) > 120] == []


@pytest.mark.parametrize(("url_form", "first"), [("name", "tin://a"), ("file", "tin:///a")])
def test_each_opens_its_urls(run: Run, here: Path, monkeypatch: pytest.MonkeyPatch, url_form: str, first: str) -> None:
    name = f"tin-{url_form}"
    run("new-backend", name, "--scheme", "tin", "--url-form", url_form)
    monkeypatch.syspath_prepend(here / f"tenure-{name}")
    discovery.register(importlib.import_module(f"tenure_tin_{url_form}.plugin"), "tin")
    try:
        with (
            tenure.connect(first) as store,
            tenure.connect(first) as same,
            tenure.connect(f"{first}b") as other,
        ):
            store.put("a", b"1")
            assert same.get("a") == store.get("a")
            assert other.get("a") is None
    finally:
        discovery.unregister("tin")


def test_a_server_comes_with_a_store_of_servers(run: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("new-backend", "tin-far", "--scheme", "tin", "--url-form", "hosts")
    monkeypatch.syspath_prepend(here / "tenure-tin-far")
    discovery.register(importlib.import_module("tenure_tin_far.plugin"), "tin")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"tin://127.0.0.1:{port}"
    with pytest.raises(tenure.Unavailable, match=f"connecting to tin at 127.0.0.1:{port}: no server listens there"):
        tenure.connect(url)
    controls = ServerProcess(0, [sys.executable, "tenure-tin-far/tests/server.py", str(port)], url=url).controls()
    controls.do("start")
    try:
        with tenure.connect(f"tin://127.0.0.1:1,127.0.0.1:{port}") as store, tenure.connect(url) as same:
            store.put("a", b"1")
            assert same.get("a") == store.get("a")
    finally:
        controls.do("kill")
        discovery.unregister("tin")


@pytest.mark.parametrize("url_form", ["name", "hosts"])
def test_closed_watches_and_ended_leases_leave_nothing(
    run: Run, here: Path, monkeypatch: pytest.MonkeyPatch, url_form: str
) -> None:
    run("new-backend", f"tin-kept-{url_form}", "--scheme", "tin", "--url-form", url_form)
    project = here / f"tenure-tin-kept-{url_form}"
    monkeypatch.syspath_prepend(project)
    module = importlib.import_module(f"tenure_tin_kept_{url_form}.backend")
    opened: list[Any] = []
    kind = next(
        value for value in vars(module).values() if isinstance(value, type) and value.__name__.startswith("Tin")
    )
    begin = kind.__init__
    monkeypatch.setattr(kind, "__init__", lambda self, request: (opened.append(self), begin(self, request))[1])
    discovery.register(importlib.import_module(f"tenure_tin_kept_{url_form}.plugin"), "tin")
    with ExitStack() as stack:
        stack.callback(discovery.unregister, "tin")
        url = "tin://kept"
        if url_form == "hosts":
            with socket.create_server(("127.0.0.1", 0)) as free:
                url = f"tin://127.0.0.1:{free.getsockname()[1]}"
            command = [sys.executable, str(project / "tests/server.py"), url.rpartition(":")[2]]
            controls = ServerProcess(0, command, url=url).controls()
            controls.do("start")
            stack.callback(controls.do, "kill")
        with tenure.connect(url) as store:
            for _ in range(5):
                with store.watch("") as watch, store.lease(5) as lease:
                    store.put("a", b"1", lease=lease)
                    watch.next(timeout=PATIENCE)
            backend = opened[-1]  # a server that is started is looked at by a store of its own
            gc.collect()
            assert list(backend._feeds) == []
            if url_form == "name":
                assert (backend._shelf.ttls, backend._shelf.deadlines) == ({}, {})


def test_nothing_is_overwritten_nor_begun(run: Run, here: Path) -> None:
    target = here / "tenure-satchel"
    (target / "tests").mkdir(parents=True)
    (target / "LICENSE").write_text("mine")
    (target / "README.md").write_text("mine")
    result = run("new-backend", "satchel")
    assert result.exit_code == 2
    assert "has README.md already" in result.stderr
    assert files(target) == {"LICENSE": "mine", "README.md": "mine"}
    (target / "README.md").unlink()
    assert run("new-backend", "satchel").exit_code == 0
    assert files(target)["LICENSE"] == "mine"


def test_a_file_in_the_way(run: Run, here: Path) -> None:
    (here / "tenure-satchel").write_text("mine")
    result = run("new-backend", "satchel")
    assert result.exit_code == 2
    assert "is no directory" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["pock et"], "can't name a distribution"),
        (["7up"], "can't name a distribution"),
        (["satchel-"], "can't name a distribution"),
        (["tenure-"], "can't name a distribution"),
        (["a" * 31], "has 31 letters, and 30 are the most"),
        (["satchel", "--scheme", "Satchel"], "can't be a scheme"),
        (["satchel", "--scheme", "po_cket"], "can't be a scheme"),
        (["satchel", "--scheme", "sqlite"], "sqlite:// is served by tenure"),
        (["memory"], "memory:// is served by tenure"),
        (["etcd", "--scheme", "my-etcd"], "a package tenure_etcd is installed already"),
        (["satchel", "--url-form", "hole"], "'file', 'hosts', 'name'"),
    ],
)
def test_names_that_cannot_be(run: Run, here: Path, arguments: list[str], said: str) -> None:
    result = run("new-backend", *arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert files(here) == {}


def test_a_folder_that_cannot_be_written(run: Run, here: Path) -> None:
    result = run("new-backend", "satchel", "--directory", "/dev/null/inside")
    assert result.exit_code in (1, 2)
    assert "tenure: " in result.stderr
    assert "Traceback" not in result.output
