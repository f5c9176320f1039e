"""What changes the store: only with the right to, only what the person saw, and never over somebody else's change."""

from __future__ import annotations

import pytest
from console_testkit import FORMS, REGISTRY, Visitor, key_on, register, settle, text_of
from tenure_console import Console

import tenure
from tenure.registry import Instance, Registry, decode, key_of
from tenure_testkit.waiting import until


def test_a_console_that_only_looks_changes_nothing(store: tenure.Store, console: Console, visitor: Visitor) -> None:
    key = register(store, "web")
    settle(console, store)
    before, revision = store.list("").items, store.server_info().revision
    assert "confirm" not in visitor.get("instance", key=key).text
    assert "/edit" not in visitor.get("key", key=key).text
    form_key = key_on(visitor.get("").text)
    for act in ("drain", "undrain", "deregister", "delete", "release", "revoke"):
        fields = {"do": act, "key": key, "revision": before[0].mod_revision, "lease": before[0].lease_id}
        assert visitor.get("confirm", **fields).status_code == 403
        assert visitor.post("do", form_key=form_key, **fields).status_code == 403
    assert visitor.get("edit", key=key).status_code == 403
    assert (
        visitor.post("save", form_key=form_key, key=key, revision=before[0].mod_revision, content="x").status_code
        == 403
    )
    assert (store.list("").items, store.server_info().revision) == (before, revision)
    assert set(FORMS) - {"do", "save"} == {
        "doctor",
        "preferences",
        "leave",
    }  # which change nothing, as tested elsewhere


def test_two_people_never_overwrite_each_other(store: tenure.Store, writable: Console, writer: Visitor) -> None:
    """The second one to save sees the difference, and saves over what is there now, or not at all."""
    with store.lease(60) as lease:
        store.put("config/limit", b'{"limit": 10, "burst": 5}', lease=lease)
        settle(writable, store)
        ada, grace = writer, Visitor(writable)
        grace.enter(writable.token)
        hers, theirs = ada.get("edit", key="config/limit"), grace.get("edit", key="config/limit")
        assert "Saved config/limit" in grace.post("save", like=theirs, content='{"limit": 20, "burst": 5}').text
        settle(writable, store)
        refused = ada.post("save", like=hers, content='{"limit": 10, "burst": 7}')
        assert refused.status_code == 409
        assert store.get("config/limit").value == b'{"limit": 20, "burst": 5}'
        shown = text_of(refused.text)
        assert "Another client changed it meanwhile" in shown
        assert "by this console" in shown
        assert '\u2212 "limit": 20,' in shown
        assert '+ "limit": 10,' in shown
        assert '{"limit": 10, "burst": 7}' in shown  # what she wrote is not lost
        # A third change comes while she looks at the difference: her decision was about another value.
        store.put("config/limit", b'{"limit": 30}', lease=lease)
        again = ada.post("save", like=refused)
        assert again.status_code == 409
        assert store.get("config/limit").value == b'{"limit": 30}'
        assert ada.post("save", like=again).status_code == 200
        item = store.get("config/limit")
        assert item is not None
        assert item.value == b'{"limit": 10, "burst": 7}'
        assert item.lease_id == lease.id  # an edit doesn't take a key from its lease


def test_a_key_that_was_deleted_or_created_meanwhile(store: tenure.Store, writer: Visitor) -> None:
    store.put("a", b"1")
    form = writer.get("edit", key="a")
    store.delete("a")
    refused = writer.post("save", like=form, content="2")
    assert refused.status_code == 409
    assert "Another client deleted it meanwhile" in refused.text
    assert store.get("a") is None
    store.put("a", b"3")
    late = writer.post("save", like=refused)
    assert late.status_code == 409
    assert store.get("a").value == b"3"
    new = writer.get("edit", new=1)
    store.put("b", b"theirs")
    taken = writer.post("save", like=new, key="b", content="mine")
    assert taken.status_code == 409
    assert "The key exists by now" in taken.text
    assert store.get("b").value == b"theirs"
    assert writer.post("save", like=new, key="c", content="mine").status_code == 200
    assert store.get("c").value == b"mine"


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\nleading line",
        b"two\nlines\n",
        b"with\r\nCRLF",
        b"a\rb",
        b"\xff\xfe\x00",
        b"nul\x00",
        "é\u202e\u200b<b>&amp;".encode(),
        b" ",
        b"</textarea><script>",
    ],
)
def test_saving_what_nobody_touched_changes_no_byte(store: tenure.Store, writer: Visitor, value: bytes) -> None:
    """Browsers send line ends as CRLF, and drop a line end that a text area begins with."""
    store.put("k", value)
    form = writer.get("edit", key="k")
    from console_testkit import form_on

    content = form_on(form.text, "/save")["content"]
    assert writer.post("save", like=form, content=content.replace("\r", "").replace("\n", "\r\n")).status_code == 200
    item = store.get("k")
    assert item is not None
    assert item.value == value
    assert item.mod_revision > item.create_revision


def test_what_can_t_be_read_by_its_codec_is_not_saved(store: tenure.Store, writer: Visitor) -> None:
    store.put("k", b"old")
    form = writer.get("edit", key="k")
    for codec, content, words in (
        ("json", "{broken", "no JSON"),
        ("bytes", "no base 64!", "no Base64"),
        ("json", "[" * 9000, "no JSON"),
    ):
        refused = writer.post("save", like=form, codec=codec, content=content)
        assert refused.status_code == 400
        assert words in refused.text
        assert content[:8] in refused.text
    for revision in ("", "x", "-1", "9" * 30):
        refused = writer.post("save", like=form, content="new", revision=revision)
        assert refused.status_code == 400
    assert store.get("k").value == b"old"
    assert writer.post("save", like=form, codec="bytes", content="/wA=").status_code == 200
    assert store.get("k").value == b"\xff\x00"


def test_drain_and_ready_keep_the_lease_and_everything_else(
    store: tenure.Store, writable: Console, writer: Visitor
) -> None:
    key = register(store, "web", weight=3, zone="eu-a")
    settle(writable, store)
    before = store.get(key)
    assert before is not None
    asked = writer.get("confirm", do="drain", key=key)
    assert "Drain default/web/web-1@10.0.0.1?" in text_of(asked.text)
    assert store.get(key) == before  # a question changes nothing
    assert writer.post("do", like=asked).status_code == 200
    drained = store.get(key)
    assert drained is not None
    assert drained.lease_id == before.lease_id
    found = decode(REGISTRY, key, drained.value)
    assert (found.status, found.weight, found.zone) == ("draining", 3.0, "eu-a")
    settle(writable, store)
    assert writer.post("do", like=writer.get("confirm", do="undrain", key=key)).status_code == 200
    assert store.get(key).value == before.value


def test_what_changed_since_the_question_is_not_done(store: tenure.Store, writable: Console, writer: Visitor) -> None:
    key = register(store, "web")
    store.put("k", b"1")
    held = tenure.Lock(store, "job", owner="ada").acquire()
    settle(writable, store)
    ticket = store.list("tenure/lock/").items[0]
    lease = store.get(key).lease_id
    asked = [writer.get("confirm", do=act, key=key) for act in ("drain", "deregister")]
    asked += [writer.get("confirm", do="delete", key="k"), writer.get("confirm", do="release", key=ticket.key)]
    tenure.Lock(store, "other", owner="ada").acquire()
    settle(writable, store)
    other = next(item for item in store.list("tenure/lock/other/").items if b"ada" in item.value)
    asked.append(writer.get("confirm", do="release", key=other.key))
    store.put(other.key, other.value, lease=other.lease_id)  # its holder has changed what it says
    store.put(key, store.get(key).value, lease=lease)
    store.put("k", b"2")
    held.release()
    again = tenure.Lock(store, "job", owner="grace").acquire()
    settle(writable, store)
    answers = [writer.post("do", like=question) for question in asked]
    assert [answer.status_code for answer in answers] == [409] * 5
    assert store.get(key) is not None
    assert store.get("k").value == b"2"
    assert store.get(other.key) is not None
    again.check()
    again.release()


def test_release_takes_a_lock_from_its_holder_alone(store: tenure.Store, writable: Console, writer: Visitor) -> None:
    tenure.Lock(store, "job", owner="ada").acquire()
    other = tenure.Lock(store, "else", owner="ada").acquire()
    settle(writable, store)
    ticket = next(item for item in store.list("tenure/lock/job/").items if b"ada" in item.value)
    asked = writer.get("confirm", do="release", key=ticket.key)
    assert "Take the lock job from ada?" in text_of(asked.text)
    assert writer.post("do", like=asked).status_code == 200
    assert store.get(ticket.key) is None
    other.check()


@pytest.mark.parametrize("act", ["deregister", "delete"])
def test_the_question_says_that_a_live_instance_comes_back(
    store: tenure.Store, writable: Console, writer: Visitor, act: str
) -> None:
    """And so it does."""
    with Registry(store) as registry:
        key = key_of(registry.config.key_prefix, registry.register(Instance("web", id="1", host="10.0.0.1")))
        first = store.get(key)
        assert first is not None
        settle(writable, store)
        asked = writer.get("confirm", do=act, key=key)
        assert "If its process runs, it registers again within moments." in text_of(asked.text)
        assert "drain the instance" in text_of(asked.text)
        done = text_of(writer.post("do", like=asked).text)
        assert "1@10.0.0.1. If its process runs, it registers again within moments." in done
        until(lambda: (item := store.get(key)) and item.create_revision > first.create_revision, what="it is back")
    store.put("k", b"")
    asked = writer.get("confirm", do="delete", key="k")
    assert "registers again" not in text_of(asked.text) + text_of(writer.post("do", like=asked).text)


def test_revoke_says_which_keys_go_and_deregister_deletes_one(
    store: tenure.Store, writable: Console, writer: Visitor
) -> None:
    with store.lease(60) as lease:
        for number in range(3):
            store.put(f"k/{number}", b"", lease=lease)
        key = register(store, "web")
        settle(writable, store)
        asked = writer.get("confirm", do="revoke", lease=lease.id)
        assert "With it, 3 keys of this namespace will be deleted" in text_of(asked.text)
        assert "k/1" in writer.get("leases").text
        assert "k/1" not in text_of(writer.post("do", like=asked).text)  # back on the list, without the lease
        assert [item.key for item in store.list("k/").items] == []
        gone = writer.post("do", like=asked)
        assert gone.status_code == 409
        assert "no lease" in gone.text
        assert writer.post("do", like=writer.get("confirm", do="deregister", key=key)).status_code == 200
        assert store.get(key) is None
    assert writer.post("do", do="explode").status_code == 409
