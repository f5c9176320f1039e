"""Parts without a server: which page owns a key, and pages brought to one revision."""

from __future__ import annotations

import pytest

from tenure.plugin_kit import Deadline
from tenure.spi import Deleted, KeyValue
from tenure_redis import reads
from tenure_redis.encoding import Entry
from tenure_redis.reads import Owner, Part, merge


def item(key: str, revision: int, value: bytes = b"") -> KeyValue:
    return KeyValue(key, value, revision, revision)


FIRST = Part([item("b", 1), item("d", 2)], True, 10)
EMPTY = Part([], True, 20)
SECOND = Part([item("f", 3)], True, 30)
LAST = Part([item("h", 4)], False, 40)


@pytest.mark.parametrize(
    ("key", "page"),
    [("a", FIRST), ("b", FIRST), ("d", FIRST), ("d0", SECOND), ("e", SECOND), ("f", SECOND), ("g", LAST), ("z", LAST)],
)
def test_a_key_belongs_to_the_page_that_ends_with_it_or_after_it(key, page):
    assert Owner([FIRST, EMPTY, SECOND, LAST]).of(key) is page


def test_a_page_takes_what_happened_after_it_alone():
    meanwhile = [
        Entry(25, 10, (item("a", 25, b"after the first page"), item("e", 25, b"before the second"), item("no", 25))),
        Entry(35, 25, (Deleted("d", 35), item("f", 35, b"after the second"), Deleted("h", 35))),
        Entry(40, 35, (item("b", 40, b"at the last page's own"),)),
    ]
    state = merge([FIRST, SECOND, LAST], meanwhile, "")
    assert state.revision == 40
    assert [(one.key, one.value) for one in state.items] == [
        ("a", b"after the first page"),
        ("b", b"at the last page's own"),
        ("f", b"after the second"),
        ("h", b""),
    ]
    assert [one.value for one in merge([FIRST, SECOND, LAST], meanwhile, "", keys_only=True).items] == [b""] * 4


class TwoPages:
    """Stands in for the pool, and notes what is asked of it."""

    def __init__(self):
        self.reaped = 0.0
        self.did = []
        self._answers = [[b"1", 1, [b"a"], [RECORD]], [b"2", 0, [b"b", b"c"], [RECORD], [RECORD]]]

    def begin(self, connection, script, args, deadline):
        self.did.append(f"ask from {args[0].decode()}")
        return args

    def finish(self, connection, script, command, deadline):
        return self._answers.pop(0)


RECORD = bytes(16) + b"\0value"


def test_the_server_works_on_the_next_page_while_one_becomes_items(monkeypatch):
    pool, made = TwoPages(), reads.items

    def items(names, records):
        pool.did.append("items")
        return made(names, records)

    monkeypatch.setattr(reads, "items", items)
    parts = reads._Pages(pool, None, "", Deadline(5.0), keys_only=False).read_on(None)
    assert pool.did == ["ask from -", "ask from (a", "items", "items"]
    assert [one.key for part in parts for one in part.items] == ["a", "b", "c"]
