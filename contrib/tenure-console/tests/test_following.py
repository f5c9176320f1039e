"""One watch for all: what it keeps, what it drops, and how soon pages hear of a change."""

from __future__ import annotations

import asyncio
import json
import random
from collections import UserList
from typing import Any

import pytest
from console_testkit import Visitor, settle, text_of
from tenure_console import Console
from tenure_console.following.follower import MOST_LISTENERS
from tenure_console.following.timeline import MOST_BYTES, MOST_CHANGES, Change, Timeline
from tenure_console.following.tree import Folder, Tree

import tenure
from tenure_testkit.waiting import PATIENCE, until


class Stream:
    """Reads the live stream of a console as a browser does."""

    def __init__(self, console: Console, visitor: Visitor, since: int = 0) -> None:
        cookie = "; ".join(f"{name}={value}" for name, value in visitor.client.cookies.items())
        self.events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.status = 0
        self._scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": "/events",
            "raw_path": b"/events",
            "query_string": f"since={since}".encode(),
            "root_path": "",
            "headers": [(b"host", b"127.0.0.1:8765"), (b"cookie", cookie.encode())],
            "server": ("127.0.0.1", 8765),
            "client": ("127.0.0.1", 1),
        }
        self._console = console
        self.gone = asyncio.Event()
        self.task = asyncio.ensure_future(console(self._scope, self._receive, self._send))

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE):
            return await self.events.get()

    async def close(self) -> None:
        self.gone.set()
        async with asyncio.timeout(PATIENCE):
            await self.task

    async def _receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        for block in message.get("body", b"").decode().split("\n\n"):
            if block.startswith("event: change"):
                self.events.put_nowait(json.loads(block.partition("data: ")[2]))
            elif block.startswith("event: end"):
                self.events.put_nowait({"topics": ["end"]})


def test_pages_hear_of_a_change_and_of_no_value(store: tenure.Store, console: Console, visitor: Visitor) -> None:
    settle(console, store)

    async def scenario() -> None:
        stream = Stream(console, visitor, since=10**6)
        first = await stream.next()
        assert first["state"] == "live"
        store.put("secret-key", b"secret")
        seen: set[str] = set()
        while not {"keys", "timeline"} <= seen:
            news = await stream.next()
            assert "secret" not in json.dumps(news)
            seen |= set(news["topics"])
        assert "locks" not in seen
        held = await asyncio.to_thread(tenure.Lock(store, "job").acquire)
        while "locks" not in seen:
            seen |= set((await stream.next())["topics"])
        await asyncio.to_thread(held.release)
        await stream.close()
        assert console._follower._listeners == set()

    asyncio.run(scenario())


def test_what_changed_between_the_page_and_its_stream_is_told(
    store: tenure.Store, console: Console, visitor: Visitor
) -> None:
    """A page says which version it shows, so a browser that reconnects misses nothing."""
    settle(console, store)
    version, _ = console._follower.changed_since(0)
    store.put("a", b"")
    settle(console, store)

    async def scenario() -> None:
        late = Stream(console, visitor, since=version)
        assert "keys" in (await late.next())["topics"]
        current = Stream(console, visitor, since=console._follower.changed_since(0)[0])
        assert (await current.next())["topics"] == []
        await late.close()
        await current.close()

    asyncio.run(scenario())


def test_streams_end_with_the_console_and_have_a_limit(store: tenure.Store, visitor: Visitor, console: Console) -> None:
    async def scenario() -> None:
        stream = Stream(console, visitor)
        await stream.next()
        stack = [console._follower.listening(lambda n=n: n) for n in range(MOST_LISTENERS - 1)]
        for listening in stack:
            listening.__enter__()
        refused = Stream(console, visitor)
        async with asyncio.timeout(PATIENCE):
            await refused.task
        assert refused.status == 503
        await asyncio.to_thread(console.close)
        while (await stream.next())["topics"] != ["end"]:
            pass
        async with asyncio.timeout(PATIENCE):
            await stream.task

    asyncio.run(scenario())


def test_an_outage_is_told_and_the_page_keeps_what_it_knew(
    console: Console, store: tenure.Store, visitor: Visitor
) -> None:
    store.put("known", b"")
    settle(console, store)
    console._follower._outage(tenure.Unavailable("reading: the server is away; wait"))
    page = text_of(visitor.get("keys").text)
    assert "The store can't be reached" in page
    assert "the server is away" in page
    assert "known" in page
    console._follower._outage(None)
    assert "can't be reached" not in visitor.get("keys").text


def test_a_watch_that_ended_is_opened_again(store: tenure.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenure_console.following.follower._PAUSE", 0.01)
    console = Console(store)
    console.start()
    store.put("a", b"1")
    settle(console, store)
    watch = console._follower._watch
    assert watch is not None
    watch.close()
    store.put("b", b"2")
    console._follower._ended(tenure.PermissionDenied("watching: not allowed; ask"))
    until(lambda: console._picture.entry("b") is not None, what="the new watch has seen what the old one missed")
    until(lambda: console._follower.link.state == "live", what="it is live again")
    assert next(change.kind for change in console._picture.changes()) == "gap"
    console.close()


def test_the_timeline_is_bounded_by_number_and_by_bytes() -> None:
    timeline = Timeline()
    for number in range(MOST_CHANGES * 2):
        timeline.add(Change(timeline.next_number(), 0.0, number, "update", "k", b"x" * 10, b"y" * 10, 10, 10))
    assert len(timeline) == MOST_CHANGES
    assert timeline.forgotten == MOST_CHANGES
    for number in range(1500):
        timeline.add(Change(timeline.next_number(), 0.0, number, "update", "k", b"x" * 16_000, b"y" * 16_000, 1, 1))
    assert len(timeline) < 600
    assert timeline.bytes <= MOST_BYTES
    assert timeline.bytes == sum(change.bytes for change in timeline._changes)


def test_keys_above_the_limit_are_counted_and_left_out(store: tenure.Store) -> None:
    for number in range(15):
        store.put(f"k/{number:02}", b"")
    console = Console(store, most_keys=10)
    console.start()
    visitor = Visitor(console)
    visitor.enter(console.token)
    until(lambda: console._picture.totals().keys == 10, what="the console has read the keys")
    assert "5 keys more than this console keeps are left out" in text_of(visitor.get("keys").text)
    store.put("k/99", b"")
    store.delete("k/14")
    store.delete("k/00")
    last = store.put("k/98", b"").revision
    until(lambda: console._picture.revision >= last, what="the console has seen the last change")
    totals = console._picture.totals()
    assert (totals.keys, totals.left_out) == (10, 5)
    assert console._picture.entry("k/98") is not None
    store.delete("k/98")
    last = store.put("k/99", b"changed").revision  # left out so far, and has room now
    until(lambda: console._picture.revision >= last, what="the console has seen the last change")
    totals = console._picture.totals()
    assert (totals.keys, totals.left_out) == (10, 4)
    for key in ("k/10", "k/11", "k/12", "k/13"):
        last = store.delete(key).revision
    until(lambda: console._picture.revision >= last, what="the console has seen the last change")
    assert console._picture.totals().left_out == 0
    console.close()


def test_memory_is_bounded_under_changes_without_end(store: tenure.Store, console: Console, visitor: Visitor) -> None:
    """What an hour with 50 changes a second brings, without its pauses: nothing grows with the number of changes."""
    rounds, keys = 6_000, 50
    for number in range(rounds):
        if number % 3 == 2:
            store.delete(f"k/{number % keys}")
        else:
            store.put(f"k/{number % keys}", b"x" * (number % 3000))
    settle(console, store)
    picture = console._picture
    assert picture.totals().changes > rounds * 0.9  # some deletes find no key
    assert len(picture._timeline) <= MOST_CHANGES
    assert picture._timeline.bytes <= MOST_BYTES
    assert len(picture._entries) == len(picture._tree) <= keys
    assert set(picture._entries) == {item.key for item in store.list("").items}
    assert visitor.get("timeline").status_code == 200


def test_the_tree_lists_what_a_plain_search_finds() -> None:
    """Against a list of all keys, on random ones with odd slashes."""
    rnd = random.Random(13)
    tree, keys = Tree(), set[str]()
    names = ("a", "b", "", "a b", "é", "\U0001f600", "z")
    for _ in range(600):
        key = "/".join(rnd.choice(names) for _ in range(rnd.randint(1, 4))) or "x"
        if key in keys and rnd.random() < 0.5:
            keys.discard(key)
            tree.remove(key)
        elif key not in keys:
            keys.add(key)
            tree.add(key)
        prefix = rnd.choice(("", "a/", "b/a/", "/", "a//", "é/", "none/"))
        below = sorted(k for k in keys if k.startswith(prefix))
        found, more = tree.children(prefix, most=10**6)
        assert not more
        assert (
            sum(child.keys if isinstance(child, Folder) else 1 for child in found) == len(below) == tree.count(prefix)
        )
        for child in found:
            if isinstance(child, Folder):
                assert child.prefix.startswith(prefix)
                assert child.prefix.endswith("/")
                assert child.keys == sum(k.startswith(child.prefix) for k in below) > 0
            else:
                assert child in keys
        assert list(tree.starting_with(prefix)) == below


class Counted(UserList[str]):
    """A list that counts how often one of its items is looked at."""

    looks = 0

    def __getitem__(self, at: Any) -> Any:
        self.looks += 1
        return super().__getitem__(at)


def test_a_folder_of_many_keys_is_listed_without_looking_at_each() -> None:
    tree = Tree()
    tree.fill(f"a/{number:06}/x" for number in range(100_000))
    counted = tree._keys = Counted(tree._keys)
    assert tree.children("", most=200) == ([Folder("a/", "a/", 100_000)], False)
    assert counted.looks < 100
    found, more = tree.children("a/", most=200)
    assert (len(found), more) == (200, True)
    assert counted.looks < 10_000
