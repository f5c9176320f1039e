"""`tenure top`: the same picture at a terminal."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from console_testkit import register
from hostile import ATTRIBUTE, BIDI, KEY, SCRIPT, hostile_instance
from tenure_console.following.follower import Follower
from tenure_console.following.picture import Picture
from tenure_console.terminal.app import Top
from tenure_console.terminal.tables import LEGENDS, VIEWS, Asked
from textual.pilot import Pilot
from textual.widgets import DataTable, Static

import tenure
from tenure import Batch, BatchType, Event, EventType, KeyValue
from tenure.cli.app import cli
from tenure_testkit.waiting import PATIENCE, until


class Screen:
    """A terminal with the application in it."""

    def __init__(self, app: Top, pilot: Pilot[None]) -> None:
        self.app, self._pilot = app, pilot

    def text(self) -> str:
        """Return what the table and the lines around it say."""
        table = self.app.query_one(DataTable)
        rows = ["  ".join(str(cell) for cell in table.get_row_at(index)) for index in range(table.row_count)]
        lines = [str(self.app.query_one(name, Static).render()) for name in ("#head", "#note")]
        return "\n".join([lines[0], *rows, lines[1]])

    async def press(self, *keys: str) -> None:
        await self._pilot.press(*keys)

    async def until(self, probe: Callable[[str], object], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not probe(self.text()):
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {PATIENCE:g} s: {what}; it shows {self.text()[:1500]}")
            await self._pilot.pause(0.02)


@contextlib.asynccontextmanager
async def shown(store: tenure.Store) -> AsyncIterator[Screen]:
    app = Top(store)
    async with app.run_test(size=(140, 40)) as pilot:
        screen = Screen(app, pilot)
        await screen.until(lambda text: "live" in text, "it is live")
        yield screen


def run(scenario: Any) -> None:
    asyncio.run(scenario)


def test_services_their_instances_and_a_filter(store: tenure.Store) -> None:
    async def scenario() -> None:
        async with shown(store) as screen:
            assert "nothing is registered" in screen.text()
            register(store, "web", 1, zone="eu-a")
            register(store, "web", 2, status="draining")
            register(store, "mail")
            await screen.until(lambda text: "1 of 2" in text and "mail" in text, "the services appear")
            await screen.press("slash", *"we")
            await screen.until(lambda text: "mail" not in text, "the filter holds")
            await screen.press("enter", "enter")
            await screen.until(lambda text: "10.0.0.2:8000" in text and "draining" in text, "the instances of web")
            await screen.press("escape")
            await screen.until(lambda text: "mail" in text, "back to all services")

    run(scenario())


def test_each_view_follows_the_store_and_hides_values(store: tenure.Store) -> None:
    async def scenario() -> None:
        async with shown(store) as screen:
            held = await asyncio.to_thread(tenure.Lock(store, "nightly", owner="ada").acquire)
            store.put("setting", b"hush")
            await screen.press("2")
            await screen.until(lambda text: "nightly" in text and "ada" in text and str(held.token) in text, "the lock")
            await screen.press("3")
            await screen.until(lambda text: "ada" in text and "tenure/lock/nightly/" in text, "its lease")
            for view in ("4", "5"):
                await screen.press(view)
                await screen.until(lambda text: "setting" in text and "hidden" in text, "the key without its value")
                assert "hush" not in screen.text()
                await screen.press("v")
                await screen.until(lambda text: "hush" in text, "its value")
                await screen.press("v")
            await asyncio.to_thread(held.release)
            await screen.press("5")
            await screen.until(lambda text: LEGENDS["unsure"] in text, "what expired? means")
            await screen.press("2")
            await screen.until(lambda text: "nothing is held" in text, "the lock is free")
            screen.app.follower._outage(tenure.Unavailable("reading: the server is away; wait"))
            await screen.until(lambda text: "store not reached" in text and "is away" in text, "the outage")

    run(scenario())


def cells(picture: Picture, view: str, service: tuple[str, str] | None = None) -> list[list[str]]:
    return [[cell.text for cell in row.cells] for row in VIEWS[view](picture, Asked(service=service)).rows]


def test_what_was_there_before_has_an_age_of_more_than(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store records no times: such an instance is older than the display. One that came later has its own age."""
    now, picture = 1000.0, Picture()
    for module in ("following.picture", "terminal.tables"):
        monkeypatch.setattr(f"tenure_console.{module}.wall_clock", lambda: now)

    def put(number: int, revision: int, event: EventType = EventType.CREATE) -> Event:
        key = f"/registry/default/web/{number}@10.0.0.1"
        return Event(event, key, KeyValue(key, b'{"port": 80}', revision, revision, "lease"), revision)

    web = ("default", "web")
    picture.take(Batch(BatchType.SNAPSHOT, (put(1, 1),), 1))
    now += 300
    assert [row[-1] for row in cells(picture, "services", web)] == ["> 5 min"]
    assert [row[-1] for row in cells(picture, "services")] == ["> 5 min"]
    assert VIEWS["services"](picture, Asked(service=web)).legend == LEGENDS["bound"]
    picture.take(Batch(BatchType.CHANGES, (put(2, 2),), 2))
    now += 60
    # The watch ended. The next one finds 1 and 2 as they were, and 3, which came in between.
    picture.take(Batch(BatchType.SNAPSHOT, (put(1, 1), put(2, 2), put(3, 3)), 3))
    now += 2
    assert [row[-1] for row in cells(picture, "services", web)] == ["> 6 min", "1 min", "2 s"]
    assert [row[-2] for row in cells(picture, "keys")] == ["> 6 min", "1 min", "2 s"]
    assert VIEWS["locks"](picture, Asked()).legend == ""


def test_nobody_is_named_for_a_delete_that_may_be_an_expiry(store: tenure.Store) -> None:
    """The process that had the lease is frozen: it made the key, and didn't delete it."""
    picture = Picture()
    with contextlib.closing(Follower(store, picture)) as follower:
        follower.start()
        key = register(store, "web")
        store.put("setting", b"")
        store.delete("setting")
        item = store.get(key)
        assert item is not None
        store.revoke_lease(item.lease_id or "")  # as the store does when it expires
        until(lambda: picture.entry(key) is None and picture.totals().changes == 4, what="the changes are seen")
        assert [(row[1], row[2], row[3]) for row in cells(picture, "timeline")] == [
            ("-", key, "expired?"),
            ("-", "setting", ""),
            ("+", "setting", ""),
            ("+", key, "web/web-1"),
        ]
        assert LEGENDS["unsure"] in VIEWS["timeline"](picture, Asked()).legend
        gone = picture.changes(most=1)[0]
        assert (gone.who, gone.owner) == ("", "web/web-1")
        picture.note_own(gone.revision, "this console")
        assert cells(picture, "timeline")[0][3] == "this console"


def test_hostile_text_has_no_power_over_the_terminal(store: tenure.Store) -> None:
    """No control or bidi character reaches it, and nothing is taken for markup."""
    store.put(KEY, hostile_instance(), lease=store.lease(60))
    held = tenure.Lock(store, "[bold red]x[/]" + SCRIPT, owner=ATTRIBUTE + BIDI.replace("\x00", "")).acquire()

    async def scenario() -> None:
        async with shown(store) as screen:
            store.put("k\x1b[2J\u202e", b"\x1b]0;title\x07" + BIDI.encode())
            await screen.press("v")
            for view in "12345":
                await screen.press(view)
                await screen.until(lambda text: len(text.splitlines()) > 1, "rows")
                assert [c for c in screen.text() if not c.isprintable() and c != "\n"] == []
            await screen.press("2")
            await screen.until(lambda text: "[bold red]x[/]" in text, "the name as it is")

    run(scenario())
    held.release()


def test_in_a_real_terminal_until_q(tmp_path: Path) -> None:
    url = f"sqlite://{tmp_path}/db"
    with tenure.connect(url) as store:
        register(store, "web")
        main, terminal = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "tenure.cli", "--url", url, "top"],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "120", "LINES": "30"},
        )
        os.close(terminal)
        try:
            _read_until(main, b"web")
            os.write(main, b"q")
            _read_until(main, b"\x1b[?1049l")  # the terminal is as it was
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()
            process.communicate()
            os.close(main)


def _read_until(terminal: int, wanted: bytes) -> None:
    seen = b""
    deadline = time.monotonic() + PATIENCE
    while wanted not in seen:
        ready, _, _ = select.select([terminal], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, f"{wanted!r} is not on the terminal: {seen[-500:]!r}"
        seen += os.read(terminal, 65536)


def test_without_a_terminal_or_textual_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = CliRunner().invoke(cli, ["--url", "memory://x", "top"])
    assert ended.exit_code == 2
    assert "tenure watch" in ended.output
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "textual" else real(name, *more)
    )
    ended = CliRunner().invoke(cli, ["--url", "memory://x", "top"])
    assert ended.exit_code == 2
    assert "pip install 'tenure-console[top]'" in ended.output
