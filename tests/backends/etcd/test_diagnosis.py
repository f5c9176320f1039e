"""What the diagnosis finds on a real etcd: hosts, the history, a single member."""

from __future__ import annotations

import inspect

import tenure
from tenure._client.opening import prepare
from tenure.diagnosis import examine
from tenure.spi import Finding, Verdict
from tenure_etcd import diagnosis, server_info
from tenure_testkit.waiting import PATIENCE


def found(url: str) -> dict[str, Finding]:
    checks = examine(prepare(url, timeout=PATIENCE), samples=1).checks
    return {check.name: check for check in checks if check.name != "server"}


def test_what_is_seen(etcd_own_url: str) -> None:
    checks = found(etcd_own_url)
    for name in ("hosts", "history", "watch", "lease", "leases"):
        assert checks[name].verdict is Verdict.OK, checks[name]
    assert "no user is needed" in checks["access"].text
    assert checks["persistence"].advice == "run three members"


def test_a_history_that_nobody_compacts(etcd_own_url: str, monkeypatch) -> None:
    with tenure.connect(etcd_own_url) as store:
        revision = store.put("key", b"value").revision
        text = found(etcd_own_url)["history"].text
        if "never compacted" in text:  # by a test before this one
            monkeypatch.setattr(diagnosis, "_YOUNG", 1)
            grown = found(etcd_own_url)["history"]
            assert (grown.verdict, "auto-compaction" in grown.advice) == (Verdict.WARNING, True)
        store.native.compact(revision)
    assert found(etcd_own_url)["history"].text == "old revisions are compacted"


def test_warnings_that_get_a_name_are_warnings_of_the_server() -> None:
    source = inspect.getsource(server_info)
    assert [begin for begin, _name, _advice in diagnosis._NAMES if begin not in source] == []
