"""The checkers of lease runs: too early and too late are found, by readers and by watchers; what is in time is not."""

from __future__ import annotations

import pytest

from tenure.conformance.checkers import by_name
from tenure.conformance.workloads.leases import Ending, recorded

ENDED = Ending("one", 2.0, 3.0, sent=100.0, answered=100.2, notified=103.0, missed=102.5)


def late(limit: float, **changes: float | None) -> list[str]:
    ending = Ending(**{name: getattr(ENDED, name) for name in Ending.__slots__} | changes)
    found = []
    for who in ("reader", "watcher"):
        found += by_name.check("leases-in-time", recorded([ending], seen_by=[who], tolerance=limit, latency=0.5))
    return found


def test_a_run_as_declared_has_no_problem():
    assert by_name.check("leases-not-early", recorded([ENDED], clocks=0.0)) == []
    assert late(0.0) == []


@pytest.mark.parametrize(("name", "words"), [("notified", "a watcher was notified"), ("missed", "a reader saw")])
def test_too_early_is_found(name, words):
    early = Ending("one", 2.0, 3.0, 100.0, 100.2, **{"notified": 103.0, "missed": 103.0, name: 101.9})  # type: ignore[arg-type]
    found = by_name.check("leases-not-early", recorded([early], clocks=0.01))
    assert len(found) == 1
    assert words in found[0]
    assert "1.900 s" in found[0]
    assert by_name.check("leases-not-early", recorded([early], clocks=0.2)) == []


def test_too_late_is_found():
    late_reader = late(0.0, missed=103.5)[0]
    assert "the key of the lease 'one' had to go within 3 s (and 0 s for a busy machine)" in late_reader
    assert "a reader found it gone after 3.300 s" in late_reader
    assert "a watcher was notified after 3.600 s" in late(0.0, notified=103.8)[0]
    assert late(0.4, missed=103.5, notified=103.8) == []
    assert all("not at all" in problem for problem in late(9.0, missed=None, notified=None))
    assert len(late(9.0, missed=None, notified=None)) == 2


def test_the_clock_of_a_run_is_its_own():
    first = recorded([ENDED], clocks=0.0)["endings"]
    assert first == [
        {"name": "one", "ttl": 2.0, "worst": 3.0, "sent": 0.0, "answered": 0.2, "notified": 3.0, "missed": 2.5}
        | {"present": None}
    ]
