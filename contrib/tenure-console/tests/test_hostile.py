"""What others write into the store harms nobody who looks: not the page, not the browser, not the server."""

from __future__ import annotations

import pytest
from console_testkit import Tags, Visitor, settle, text_of
from hostile import ATTRIBUTE, BIDI, EVALUATED, KEY, SCRIPT, TEMPLATE, hostile_instance
from tenure_console import Console

import tenure


@pytest.fixture
def lock(store: tenure.Store) -> object:
    held = tenure.Lock(store, SCRIPT + "x", owner=ATTRIBUTE + BIDI.replace("\x00", ""))
    return held.acquire()


def test_a_hostile_instance_harms_no_page(
    store: tenure.Store, writable: Console, writer: Visitor, lock: object
) -> None:
    """All pages keep their size and their elements, and show none of its characters but printable ones."""
    store.put(KEY, hostile_instance(), lease=store.lease(60))
    store.put("k" + ATTRIBUTE + SCRIPT, (SCRIPT + ATTRIBUTE + BIDI).encode())
    store.put("k" + ATTRIBUTE + SCRIPT, (SCRIPT + BIDI + TEMPLATE).encode())
    writer.show_values()
    settle(writable, store)
    service = KEY.removeprefix("/registry/default/").rpartition("/")[0]
    lease = store.get(KEY).lease_id
    held = next(item.key for item in store.list("tenure/lock/").items)
    visited = [
        writer.get(path, **query)
        for path, query in (
            ("", {}),
            ("", {"q": SCRIPT}),
            ("service", {"registry": "default", "name": service, "q": ""}),
            ("service", {"registry": SCRIPT, "name": ATTRIBUTE, "q": BIDI, "page": TEMPLATE}),
            ("instance", {"key": KEY}),
            ("keys", {}),
            ("keys", {"prefix": "/registry/default/"}),
            ("keys", {"prefix": ATTRIBUTE + BIDI}),
            ("keys", {"q": SCRIPT}),
            ("key", {"key": KEY}),
            ("key", {"key": "k" + ATTRIBUTE + SCRIPT}),
            ("key", {"key": SCRIPT + ATTRIBUTE + BIDI[:-1]}),
            ("edit", {"key": "k" + ATTRIBUTE + SCRIPT}),
            ("timeline", {}),
            ("timeline", {"q": SCRIPT, "prefix": "k"}),
            ("leases", {}),
            ("lease", {"id": lease}),
            ("lease", {"id": SCRIPT + ATTRIBUTE}),
            ("locks", {}),
            ("search", {"q": "script"}),
            ("search", {"q": ATTRIBUTE + BIDI}),
            ("confirm", {"do": "drain", "key": KEY}),
            ("confirm", {"do": "delete", "key": "k" + ATTRIBUTE + SCRIPT}),
            ("confirm", {"do": "release", "key": held}),
            ("confirm", {"do": SCRIPT}),
            ("nothing" + ATTRIBUTE.replace("/", ""), {}),
        )
    ]
    assert sum(answer.status_code == 200 for answer in visited) > 15
    for answer in visited:
        assert answer.status_code in (200, 404, 409), (answer.status_code, answer.url)
        assert len(answer.content) < 300_000, answer.url
        page = answer.text
        editing = answer.url.path == "/edit"  # the form has the value as it is, in a text area
        for tag, attributes in Tags(page).found:
            assert tag not in ("img", "iframe"), answer.url
            assert tag != "script" or set(attributes) == {"src", "defer"}
            assert not any(name.startswith("on") or name in ("autofocus", "harm") for name in attributes), answer.url
        seen = page if not editing else page.partition("<textarea")[0]
        content = seen.partition("<main")[2]
        hidden = [c for c in _shown(content) if not c.isprintable() and c not in "\n"]
        assert hidden == [], (answer.url, hidden[:5])
        assert EVALUATED not in page
        assert "memory://" not in text_of(page)


def _shown(page: str) -> str:
    """The text between the tags: an attribute is not shown, and a form's hidden field needs the very characters."""
    import re

    return re.sub(r"<[^>]*>", "", page)


def test_an_entry_that_can_t_be_written_as_it_is_is_not_drained(
    store: tenure.Store, writable: Console, writer: Visitor
) -> None:
    """Its fields are not those of an instance that Tenure would write. Deregistering it is possible."""
    store.put(KEY, hostile_instance(3000), lease=store.lease(60))
    settle(writable, store)
    before = store.get(KEY)
    refused = writer.post("do", like=writer.get("confirm", do="drain", key=KEY))
    assert refused.status_code == 409
    assert "Edit the value of its key" in refused.text
    assert store.get(KEY) == before
    assert writer.post("do", like=writer.get("confirm", do="deregister", key=KEY)).status_code == 200
    assert store.get(KEY) is None


def test_diffs_of_hostile_values_take_no_time(store: tenure.Store, console: Console, visitor: Visitor) -> None:
    """Values that are bad for the algorithm are within its limits, or aren't compared."""
    visitor.show_values()
    store.put("d", b"\n".join(b"ab"[i % 2 : i % 2 + 1] for i in range(390)))
    store.put("d", b"\n".join(b"ba"[i % 3 % 2 : i % 3 % 2 + 1] for i in range(390)))
    store.put("d", b"x" * 200_000)
    store.put("d", b'{"a":' * 3000)
    settle(console, store)
    page = visitor.get("timeline", prefix="d")
    assert page.status_code == 200
    assert "too large to keep" in page.text
