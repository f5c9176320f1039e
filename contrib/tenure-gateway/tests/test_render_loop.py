"""The command's loop: changes, intervals, outages and signals. The store is one of ``tenure.testing``."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic

import pytest
from recording import Recorder
from tenure_gateway.render.loop import Wishes, follow
from tenure_gateway.render.plan import Job, Plan
from tenure_gateway.render.renderer import Renderer

import tenure
from tenure.cli.options import Settings
from tenure.registry import Instance, Registry
from tenure.testing import Faults
from tenure_testkit.waiting import until


class Loop:
    """``tenure render`` without its process, so that the test can inject faults into its store."""

    def __init__(self, url: str, folder: Path, interval: float = 0.05) -> None:
        self.out = folder / "out"
        self.grace = 600.0
        self.told = Recorder()
        self.wishes = Wishes()
        self._template = folder / "in.j2"
        self._template.write_text("{% for i in service('web') %}{{ i.id }},{% endfor %}{{ key('color', 'none') }}")
        self._options = Settings(url=url, json=True)
        self._plan = Plan((Job(self._template, self.out),), interval=interval)
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        renderer = Renderer(self._plan, self.told, lambda: self.wishes.end)
        follow(self._options, self._plan, renderer, self.wishes, self.told, grace=self.grace, once=False)

    def wait_for(self, content: str) -> None:
        until(lambda: self.out.exists() and self.out.read_text() == content, what=f"the file says {content!r}")

    def wait_told(self, kind: str, count: int = 1) -> None:
        until(lambda: [each for each, _ in self.told.events].count(kind) >= count, what=f"{kind} is told")

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        if self._thread.is_alive():
            self.wishes.signalled(signal.SIGTERM, None)
            self._thread.join(60)
            assert not self._thread.is_alive()

    def change_template(self, text: str) -> None:
        self._template.write_text(text)
        self.wishes.signalled(signal.SIGHUP, None)


@pytest.fixture
def loop(tenure_url: str, tmp_path: Path) -> Iterator[Loop]:
    loop = Loop(tenure_url, tmp_path)
    yield loop
    loop.end()


def register(store: tenure.Store, name: str) -> Registry:
    return Registry(store, instance=Instance("web", id=name, host="10.0.0.1", port=ord(name))).start()


def test_the_file_follows_instances_keys_and_the_template(
    loop: Loop, tenure_connect: Callable[..., tenure.Store]
) -> None:
    writer = tenure_connect()
    loop.start()
    loop.wait_for("none")
    register(writer, "a")
    loop.wait_for("a,none")
    writer.put("color", b"red")
    loop.wait_for("a,red")
    other = register(writer, "b")
    loop.wait_for("a,b,red")
    other.drain()
    loop.wait_for("a,red")
    loop.change_template("new")
    loop.wait_for("new")


def test_many_changes_are_rendered_once_an_interval(
    tenure_url: str, tmp_path: Path, tenure_connect: Callable[..., tenure.Store]
) -> None:
    interval = 0.3
    loop = Loop(tenure_url, tmp_path, interval)
    began = monotonic()
    loop.start()
    try:
        loop.wait_for("none")
        writer = tenure_connect()
        for number in range(200):
            writer.put("color", str(number).encode())
        loop.wait_for("199")
    finally:
        loop.end()
    rendered = [kind for kind, _ in loop.told.events].count("rendered")
    assert 2 <= rendered <= 1 + (monotonic() - began) / interval


def test_an_outage_changes_nothing_and_is_told(
    loop: Loop, tenure_connect: Callable[..., tenure.Store], tenure_faults: Faults, capfd: pytest.CaptureFixture[str]
) -> None:
    writer = tenure_connect()
    register(writer, "a")
    loop.start()
    loop.wait_for("a,none")
    said = ""

    def heard(word: str) -> bool:
        nonlocal said
        said += capfd.readouterr().out
        return f'"type": "{word}"' in said

    with tenure_faults.outage():
        until(lambda: heard("outage"), what="the outage is told")
        assert loop.out.read_text() == "a,none"
        for count in (1, 2):  # once the second is told, the first has had its look
            loop.change_template("{% for i in service('web') %}{{ i.id }};{% endfor %}")
            loop.wait_told("reloaded", count)
        assert loop.out.read_text() == "a,none"
        # What the store loses meanwhile is not believed at once.
        tenure_faults.lose_data()
    until(lambda: heard("reconnected"), what="the end is told")
    loop.wait_told("kept")
    loop.wait_for("a;")
    register(writer, "b")
    loop.wait_for("a;b;")


def test_a_key_that_an_outage_took_away_stays_for_the_grace_period(
    loop: Loop, tenure_connect: Callable[..., tenure.Store], tenure_faults: Faults
) -> None:
    writer = tenure_connect()
    writer.put("color", b"red")
    loop.grace = 4.0
    loop.start()
    loop.wait_for("red")
    tenure_faults.lose_data()
    loop.wait_told("rendered", 2)
    assert loop.out.read_text() == "none"
    kinds = [kind for kind, _ in loop.told.events]
    assert kinds[kinds.index("rendered") :] == ["rendered", "kept", "rendered"]
    writer.put("color", b"blue")
    loop.wait_for("blue")
    writer.delete("color")
    loop.wait_for("none")


def test_it_waits_for_a_store_that_is_away_and_ends_when_asked(
    loop: Loop, tenure_connect: Callable[..., tenure.Store], tenure_faults: Faults
) -> None:
    loop.out.write_text("last good one")
    with tenure_faults.outage():
        loop.start()
        loop.wait_told("waiting")
        assert loop.out.read_text() == "last good one"
    loop.wait_for("none")
