"""What the pages show, and what they keep to themselves until somebody asks."""

from __future__ import annotations

import json
import threading

import pytest
from console_testkit import Visitor, register, settle, text_of
from tenure_console import Console
from tenure_console.pages.store import _limit

import tenure
from tenure_testkit.waiting import until


def test_services_with_their_instances(store: tenure.Store, console: Console, visitor: Visitor) -> None:
    key = register(store, "web", 1, zone="eu-a", version="2.1")
    register(store, "web", 2, zone="eu-b", status="draining", weight=0.5)
    register(store, "mail")
    store.put("/registry/default/web/broken@10.0.0.9", b"no json")
    settle(console, store)
    shown = text_of(visitor.get("").text)
    assert "Services 2 Instances 4 Ready 2 Draining 1 Unreadable 1" in shown
    assert "web 1 of 3 eu-a 1 eu-b 1" in shown
    assert "mail" not in text_of(visitor.get("", q="WE").text)
    listed = text_of(visitor.get("service", registry="default", name="web").text)
    assert "web-1 10.0.0.1:8000 ready 1 eu-a node 2.1" in listed
    assert "web-2 10.0.0.2:8000 draining 0.5 eu-b node" in listed
    assert "unreadable" in listed
    assert "web-2" not in text_of(visitor.get("service", registry="default", name="web", q="eu-A").text)
    one = text_of(visitor.get("instance", key=key).text)
    assert "10.0.0.1:8000" in one
    assert "30 s" in one
    assert "isn't JSON" in text_of(visitor.get("instance", key="/registry/default/web/broken@10.0.0.9").text)
    assert visitor.get("instance", key="/registry/default/web/none@10.0.0.9").status_code == 404


def test_ten_thousand_instances_are_pages_of_a_hundred(store: tenure.Store, console: Console, visitor: Visitor) -> None:
    lease = store.lease(60)
    for start in range(0, 1200, 400):
        change = store.transaction()
        for number in range(start, start + 400):
            change.put(f"/registry/default/many/{number:05}@10.0.0.1", b'{"port": 80}', lease=lease)
        change.commit()
    settle(console, store)
    page = visitor.get("service", registry="default", name="many", page=2)
    assert "Page 2 of 12 · 1,200 instances" in text_of(page.text)
    assert "00100" in page.text
    assert "00200" not in page.text
    assert "Page 12 of 12" in text_of(visitor.get("service", registry="default", name="many", page=10**6).text)
    assert "Page 1 of 12" in text_of(visitor.get("service", registry="default", name="many", page="x").text)


def test_values_are_hidden_until_somebody_asks(store: tenure.Store, console: Console, visitor: Visitor) -> None:
    store.put("config/db", b'{"password": "hush"}')
    key = register(store, "web", token="hush")
    store.put("config/db", b'{"password": "hush", "port": 1}')
    settle(console, store)
    pages = (
        ("keys", {"prefix": "config/"}),
        ("key", {"key": "config/db"}),
        ("timeline", {}),
        ("instance", {"key": key}),
        ("search", {"q": "db"}),
    )
    assert not any("hush" in visitor.get(path, **query).text for path, query in pages)
    # Of one key, by its own page.
    assert "hush" in visitor.get("key", key="config/db", show=1).text
    assert "hush" not in visitor.get("key", key="config/db").text
    visitor.show_values()
    assert [path for path, query in pages if "hush" in visitor.get(path, **query).text] == [
        "keys",
        "key",
        "timeline",
        "instance",
    ]
    other = Visitor(console)
    other.enter(console.token)
    assert not any("hush" in other.get(path, **query).text for path, query in pages)
    visitor.post("preferences", values="hide")
    assert not any("hush" in visitor.get(path, **query).text for path, query in pages)


def test_the_tree_and_its_search(store: tenure.Store, console: Console, visitor: Visitor) -> None:
    for key in ("a", "app/x/1", "app/x/2", "app/y", "app//odd", "/lead/1", "app/"):
        store.put(key, b"v")
    settle(console, store)
    top = text_of(visitor.get("keys").text)
    assert "/lead/ 1 key app/ 5 keys a 1 B" in top
    below = text_of(visitor.get("keys", prefix="app/").text)
    assert "x/ 2 keys" in below
    assert "/odd" in below
    found = text_of(visitor.get("keys", q="X/").text)
    assert "app/x/1" in found
    assert "app/y" not in found
    assert "Nothing starts with this prefix" in visitor.get("keys", prefix="none/").text
    searched = text_of(visitor.get("search", q="ODD").text)
    assert "app//odd" in searched


@pytest.mark.parametrize(
    ("value", "codecs", "shown"),
    [
        (b'{"a":[1,true,"x"]}', ["json", "text", "bytes"], '"a" : [ 1 , true , "x" ]'),
        (b"plain text", ["text", "bytes"], "plain text"),
        (b"\xff\x00\x41", ["bytes"], "00000000 ff 00 41 ··A"),
        (b"{broken", ["text", "bytes"], "{broken"),
        (b"[" * 5000, ["text", "bytes"], "[[["),
        (b"", ["text", "bytes"], "The value is empty."),
    ],
)
def test_a_value_by_its_codec(
    store: tenure.Store, visitor: Visitor, value: bytes, codecs: list[str], shown: str
) -> None:
    store.put("k", value)
    page = visitor.get("key", key="k", show=1)
    assert shown in text_of(page.text)
    assert [codec for codec in ("json", "text", "bytes") if f"as={codec}" in page.text] == codecs
    assert visitor.get("raw", key="k").content == value
    for codec in ("bytes", "json", "nonsense"):
        assert visitor.get("key", key="k", show=1, **{"as": codec}).status_code == 200


def test_the_timeline_tells_who_changed_what(store: tenure.Store, console: Console, visitor: Visitor) -> None:
    visitor.show_values()
    settle(console, store)
    key = register(store, "web")
    lease = store.get(key).lease_id
    store.put("web-state", b"first\nsame\nthird", lease=lease)
    store.put("web-state", b"first\nsame\nother", lease=lease)
    store.delete("web-state")
    settle(console, store)
    shown = text_of(visitor.get("timeline", prefix="web-state").text).partition("tells its owner")[2]
    deleted, changed, created = shown.index("deleted"), shown.index("changed"), shown.index("created")
    assert deleted < changed < created
    assert shown.count("by web/web-1") == 2
    assert "had a lease of web/web-1 ; it ended, or a client deleted the key" in shown
    assert "\u2212 third + other" in shown
    assert "first" not in text_of(visitor.get("timeline", q="nothing-has-this").text)
    assert visitor.get("key", key="web-state").status_code == 404
    assert "Its last changes" in visitor.get("key", key="web-state").text


def test_leases_with_their_keys_and_owners(store: tenure.Store, console: Console, visitor: Visitor) -> None:
    register(store, "web")
    with store.lease(50) as lease:
        for number in range(5):
            store.put(f"job/{number}", b"", lease=lease)
        settle(console, store)
        shown = text_of(visitor.get("leases").text)
        assert "web/web-1" in shown
        assert "and 2 more" in shown
        one = text_of(visitor.get("lease", id=lease.id).text)
        assert "TTL 50 s Keys 5" in one
        assert "job/4" in one
    settle(console, store)
    assert "This lease has ended" in visitor.get("lease", id=lease.id).text


def test_locks_and_elections_with_holder_token_and_waiters(
    store: tenure.Store, console: Console, visitor: Visitor
) -> None:
    held = tenure.Lock(store, "nightly", owner="ada").acquire()
    slots = [tenure.Semaphore(store, "slots", limit=2).acquire() for _ in range(2)]
    with tenure.connect(store.url) as other:
        thread = threading.Thread(target=tenure.Lock(other, "nightly", owner="grace").acquire)
        thread.start()
        until(lambda: len(store.list("tenure/lock/nightly/").items) >= 2, what="grace waits")
        settle(console, store)
        page = visitor.get("locks").text
        shown = text_of(page)
        assert 'data-count="locks">2<' in page  # as many as it lists, not as many as hold: three
        assert shown.endswith("2 names")
        assert "nightly lock ada holds, asked" in shown
        assert f"token {held.token}" in shown
        assert "grace" in shown
        assert "slots semaphore" in shown
        assert "No name matches" in text_of(visitor.get("locks", q="zzz").text)
        assert "nightly" in text_of(visitor.get("search", q="nIgh").text)
        held.release()
        for slot in slots:
            slot.release()
        thread.join()
    settle(console, store)
    assert "Nothing is held" in visitor.get("locks").text


def test_the_store_and_its_doctor(store: tenure.Store, writable: Console, writer: Visitor, visitor: Visitor) -> None:
    page = text_of(writer.get("store").text)
    assert "nothing survives the end of this process" in page
    assert "the store answers every read with the latest acknowledged write" in page
    assert "the store does not declare that it is seen by other processes" in page
    assert "Caveats" in page
    assert "Doctor" not in page
    examined = text_of(writer.post("doctor").text)
    assert "a put takes" in examined
    # One that may not write has nothing tried that writes.
    before = store.server_info().revision
    assert "a get takes" in text_of(visitor.post("doctor").text)
    assert store.server_info().revision == before


def test_a_limit_is_never_rounded_to_nothing(store: tenure.Store, visitor: Visitor) -> None:
    assert "1 ms ttl granularity" in text_of(visitor.get("store").text)
    assert [
        _limit(*given)
        for given in (
            ("ttl_granularity", 0.0, "seconds"),
            ("max_watch_latency", 0.25, "seconds"),
            ("max_watch_latency", 0.0, "seconds"),
            ("min_ttl", 2.5, "seconds"),
            ("max_value_bytes", 2048, "bytes"),
            ("expiry_factor", 1.5, "ratio"),
        )
    ] == ["any", "250 ms", "0 s", "2.5 s", "2.0 KiB", "1.5"]


def test_an_empty_namespace_says_what_to_do(visitor: Visitor) -> None:
    for path, words in (
        ("", "Nothing is registered"),
        ("keys", "This namespace is empty"),
        ("timeline", "Quiet so far"),
        ("leases", "No leases"),
        ("locks", "Nothing is held"),
        ("search", "What are you looking for?"),
    ):
        assert words in visitor.get(path).text


def test_a_store_that_fails_is_told_and_the_page_stays(console: Console, visitor: Visitor, store: tenure.Store) -> None:
    store.close()
    answer = visitor.get("key", key="a")
    assert answer.status_code == 502
    assert "closed" in text_of(answer.text)
    assert "Traceback" not in answer.text
    assert visitor.get("").status_code == 200


def test_the_numbers_in_json_stay_as_they_are(store: tenure.Store, visitor: Visitor) -> None:
    value = json.dumps({"big": 2**70, "text": "</pre><script>"}).encode()
    store.put("k", value)
    page = visitor.get("key", key="k", show=1).text
    assert str(2**70) in page
    assert "<script>" not in page.partition("<pre")[2].partition("</pre>")[0]
