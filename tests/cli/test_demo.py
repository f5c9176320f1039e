"""`tenure demo`: real processes, real events, an exit code that can be trusted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import tenure

from .processes import Command


def demo(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "TENURE_URL"}
    return subprocess.run(
        [sys.executable, "-m", "tenure.cli", "demo", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**environment, **env},
    )


def test_the_demo_on_the_embedded_store(tmp_path: Path) -> None:
    """Exit code 0 in time; the user's own store isn't touched; nothing is left in the temporary folder."""
    state, scratch = tmp_path / "state", tmp_path / "tmp"
    state.mkdir()
    scratch.mkdir()
    ended = demo("--json", XDG_STATE_HOME=str(state), TMPDIR=str(scratch))
    assert ended.returncode == 0, ended.stderr
    *events, summary = [json.loads(line) for line in ended.stdout.splitlines()]
    found = [(event["type"], event["instance"]["id"]) for event in events]
    assert sorted(found[:3]) == [("create", "one"), ("create", "three"), ("create", "two")]
    assert found[3:] == [("upsert", "two"), ("delete", "one"), ("delete", "three")]
    assert events[3]["instance"]["meta"] == {"version": "2", "zone": "north"}
    assert summary["ok"] is True
    assert summary["seconds"] < 30
    assert list(scratch.iterdir()) == []
    assert list(state.rglob("*.db*")) == []


def test_the_demo_for_people(tmp_path: Path) -> None:
    picture = tmp_path / "demo.svg"
    ended = demo("--svg", str(picture))
    assert ended.returncode == 0, ended.stderr
    text = picture.read_text()
    assert text.startswith("<svg")
    assert "killed" in text
    assert "@font-face" not in text  # nothing is fetched from anywhere


def test_the_demo_on_a_store_of_ones_own_leaves_nothing(file_url: str) -> None:
    with tenure.connect(file_url) as store:
        store.put("mine", b"1")
        ended = demo("--url", file_url)
        assert ended.returncode == 0, ended.stderr
        assert store.list().keys == ("mine",)
        assert store.leases() == ()


def test_a_store_that_other_processes_do_not_see_is_refused() -> None:
    ended = demo("--url", "memory://x")
    assert ended.returncode == 1
    assert "multi_process" in ended.stderr


def test_an_event_that_does_not_come_fails_the_demo(file_url: str) -> None:
    """The workers can't start: the demo says so instead of telling a story."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "sitecustomize.py").write_text(
            "import sys\nif 'tenure.cli.demo.worker' in sys.orig_argv: raise SystemExit('no worker today')\n"
        )
        with Command("demo", url=file_url, PYTHONPATH=folder) as command:
            assert command.wait() == 1
            assert "no worker today" in "\n".join(command.err.rest())
