"""Pages of a long range, without a server: how long they are waited for."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tenure._runtime import deadline as deadline_module
from tenure.errors import DeadlineExceeded
from tenure.spi import ListRequest
from tenure_etcd import reads


@pytest.fixture
def now(monkeypatch):
    """The monotonic clock of deadlines, which stands until the test moves it."""
    clock = SimpleNamespace(seconds=1000.0)
    monkeypatch.setattr(deadline_module, "monotonic", lambda: clock.seconds)
    return clock


class SlowEtcd:
    """A connection whose every page takes a second; there are five."""

    def __init__(self, now):
        self.now = now
        self.first_keys: dict[bytes, int] = {}
        self.history = SimpleNamespace(latest=SimpleNamespace(generation=0))
        self.pages = 0

    def call(self, method, request, *, timeout, **options):
        if timeout < 1.0:
            self.now.seconds += timeout
            raise DeadlineExceeded("too slow")
        self.now.seconds += 1.0
        self.pages += 1
        kv = SimpleNamespace(key=b"%d" % self.pages, value=b"", create_revision=1, mod_revision=1, lease=0)
        header = SimpleNamespace(cluster_id=1, raft_term=1, revision=7)
        return SimpleNamespace(header=header, kvs=[kv], more=self.pages < 5, ByteSize=lambda: 1)


def test_pages_of_etcd_that_keep_coming_are_waited_for(now):
    request = ListRequest(prefix="", patience=60.0)
    assert len(reads.list_page(SlowEtcd(now), request, timeout=2.0).items) == 5


@pytest.mark.parametrize(("patience", "pages"), [(None, 2), (3.5, 3)])
def test_pages_of_etcd_are_waited_for_no_longer_than_the_caller_does(now, patience, pages):
    etcd = SlowEtcd(now)
    started = now.seconds
    with pytest.raises(DeadlineExceeded):
        reads.list_page(etcd, ListRequest(prefix="", patience=patience), timeout=2.0)
    assert etcd.pages == pages
    assert now.seconds - started <= (patience or 2.0) + 0.01
