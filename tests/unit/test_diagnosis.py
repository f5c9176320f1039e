"""The diagnosis: each use is tried by itself, what the plugin knows is added, and nothing is left behind."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import tenure
from tenure._client.opening import Opening, prepare
from tenure._plugins import discovery
from tenure.diagnosis import examine
from tenure.errors import PermissionDenied, Unavailable
from tenure.spi import Finding, Right, UrlForm, Use, Verdict, named_warnings
from tenure_memory.backend import MemoryBackend

RIGHTS = tuple(Right(use, f"right to {use}") for use in Use)


@pytest.fixture
def url() -> str:
    return f"memory://{uuid.uuid4().hex}"


@pytest.fixture
def store(url: str) -> Iterator[tenure.Store]:
    """Keeps the store's content alive."""
    with tenure.connect(url) as opened:
        yield opened


@pytest.fixture
def opening(url: str, store: tenure.Store) -> Opening:
    found = prepare(url, timeout=1.0)
    return dataclasses.replace(found, plugin=dataclasses.replace(found.plugin, rights=RIGHTS))


def refuse(*_: object, **__: object) -> Any:
    raise PermissionDenied("not this user")


@pytest.mark.parametrize(
    ("method", "use"),
    [
        ("get", Use.READ),
        ("list", Use.READ),
        ("watch", Use.WATCH),
        ("commit", Use.WRITE),
        ("grant", Use.LEASE),
        ("refresh", Use.LEASE),
        ("leases", Use.LIST_LEASES),
    ],
)
def test_a_right_that_is_missing_is_named_with_its_use(
    opening: Opening, store: tenure.Store, monkeypatch: pytest.MonkeyPatch, method: str, use: Use
) -> None:
    name = "leases" if use is Use.LIST_LEASES else str(use)
    with monkeypatch.context() as patch:
        patch.setattr(MemoryBackend, method, refuse)
        found = examine(opening, samples=2)
    failed = found.of(Verdict.FAILED)
    assert {finding.name for finding in failed} <= {name, "watch", "lease"}, failed
    assert f"to {use}, the user needs: right to {use}" in {finding.advice for finding in failed}
    others = {"read", "write", "leases"} - {name}
    if method != "list":  # which every other use needs, too
        assert others <= {finding.name for finding in found.of(Verdict.OK)}
    assert store.list().keys == ()
    assert store.leases() == ()


def test_without_leases_the_keys_are_removed_one_way_or_the_other(
    opening: Opening, store: tenure.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MemoryBackend, "grant", refuse)
    assert examine(opening, samples=3).put_seconds is not None
    assert store.list().keys == ()


def hook(findings: Callable[[], tuple[Finding, ...]]) -> Callable[..., tuple[Finding, ...]]:
    return lambda _self, *, timeout: findings()


def test_the_backend_adds_what_only_it_knows(opening: Opening, monkeypatch: pytest.MonkeyPatch) -> None:
    warning = examine(opening).server.warnings[0]
    own = Finding("persistence", Verdict.WARNING, warning, "use another store")
    monkeypatch.setattr(MemoryBackend, "diagnose", hook(lambda: (own,)))
    checks = examine(opening).checks
    assert own in checks
    assert [check.name for check in checks if check.text == warning] == ["persistence"]


def test_a_backend_that_fails_to_look_closer_is_a_finding(opening: Opening, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> tuple[Finding, ...]:
        raise Unavailable("gone")

    monkeypatch.setattr(MemoryBackend, "diagnose", hook(fail))
    assert any("gone" in check.text for check in examine(opening).of(Verdict.WARNING))


def test_a_plugin_without_the_hook_is_as_good_as_before(opening: Opening) -> None:
    assert "diagnose" not in vars(MemoryBackend)
    assert examine(opening).of(Verdict.FAILED) == []


def test_a_server_that_says_nothing_of_itself_is_a_finding(opening: Opening, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemoryBackend, "server_info", refuse)
    found = examine(opening)
    assert [finding.name for finding in found.of(Verdict.FAILED)] == ["server"]
    assert found.put_seconds is not None


def test_the_heartbeat_is_compared_with_what_the_store_can_do(
    opening: Opening, store: tenure.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = dataclasses.replace(store.capabilities, max_watch_failure_detection=14.0, min_ttl=4.0)
    monkeypatch.setattr(MemoryBackend, "capabilities", slow)
    verdicts = {}
    for heartbeat in (3.0, 10.0, 20.0):
        found = examine(opening, heartbeat=heartbeat, samples=1, read_only=True)
        verdicts[heartbeat] = [check.name for check in found.of(Verdict.WARNING) if check.name != "server"]
    assert verdicts == {3.0: ["silence", "expiry"], 10.0: ["silence"], 20.0: []}


def test_variables_for_proxies_are_said_to_have_no_effect(opening: Opening, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://10.0.0.1:3128")
    assert not [check for check in examine(opening).checks if check.name == "proxy"]
    on_hosts = dataclasses.replace(opening, plugin=dataclasses.replace(opening.plugin, url_form=UrlForm.HOSTS))
    assert [check.text for check in examine(on_hosts).checks if check.name == "proxy"] == [
        "https_proxy: no effect, the client connects to the hosts itself"
    ]


def test_the_first_name_that_fits_a_warning_is_its_name() -> None:
    names = (("The database has reached", "full", "a"), ("The database has", "large", "b"))
    found = named_warnings(["The database has reached its quota", "The database has 3 MiB", "Other"], names)
    assert [(finding.name, finding.advice) for finding in found] == [("full", "a"), ("large", "b")]


@pytest.mark.parametrize(
    "scheme",
    [claim.scheme for claim in discovery.claims() if claim.distribution == "tenure" and claim.scheme != "memory"],
)
def test_each_store_says_what_every_use_needs(scheme: str) -> None:
    rights = discovery.find(scheme).rights
    assert [right.use for right in rights] == list(Use)
    assert all(right.needed for right in rights)
