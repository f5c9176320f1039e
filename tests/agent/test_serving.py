"""What programs get from the agent, and what goes past it to the store."""

from __future__ import annotations

import asyncio
import json

import pytest

import tenure
from tenure import BatchType, Conflict, Unsupported, aio
from tenure.agent import ask_status
from tenure.registry import Instance, Registry, RegistryConfig
from tenure_testkit.waiting import PATIENCE, until

PREFIX = "/registry/default/"


def entry(number: int, service: str = "web") -> tuple[str, bytes]:
    value = {"service_name": service, "id": str(number), "host": "10.0.0.1", "host_name": "h", "port": 80, "meta": {}}
    return f"{PREFIX}{service}/{number}@10.0.0.1", json.dumps(value).encode()


def test_a_registry_finds_and_registers(started, opened, url, through):
    started()
    with Registry(opened(through), instance=Instance("web", id="mine", port=80)) as registry:
        assert registry.get_service("web")[0].id == "mine"
        direct = opened(url)
        assert len(direct.list(PREFIX)) == 1, "the registration is in the store itself"
        direct.put(*entry(1))
        assert len(registry.wait_for("web", 2, PATIENCE)) == 2
        with Registry(opened(through)) as other:
            assert len(other.get_service("web")) == 2, "the first state is complete"
        assert registry.staleness == 0.0
    assert direct.list(PREFIX).keys == (entry(1)[0],)


def test_the_asyncio_face_goes_through_it(started, opened, url, through):
    started()
    opened(url).put(*entry(1))

    async def scene() -> list[str]:
        async with aio.connect(through, wait_for_store=PATIENCE) as store, aio.Registry(store) as registry:
            return [each.id for each in await registry.wait_for("web", 1, PATIENCE)]

    assert asyncio.run(scene()) == ["1"]


def test_keys_of_one_program_are_those_of_the_others(started, opened, url, through):
    """The namespace is that of the store's URL, here and there; conflicts name the program's keys."""
    started()
    direct, program = opened(url), opened(through)
    key, value = entry(1)
    revision = program.put(key, value).revision
    assert direct.get(key).mod_revision == revision
    assert program.get(key) == direct.get(key)
    until(lambda: program.list(PREFIX).items == direct.list(PREFIX).items, what="the agent has it")
    assert program.list(PREFIX, keys_only=True).keys == (key,)
    assert program.get_many([key, "none"]) == direct.get_many([key, "none"])
    with pytest.raises(Conflict) as refused:
        program.put_if_unchanged(key, b"{}", revision=revision + 1)
    assert refused.value.keys == (key,)
    with program.lease(30.0) as lease:
        program.put("elsewhere/1", b"x", lease=lease)
        assert [each.keys for each in program.leases()] == [("elsewhere/1",)]
        assert program.list("elsewhere/").keys == ("elsewhere/1",), "what isn't served comes from the store"
        with program.watch("elsewhere/") as watch:
            assert watch.next(PATIENCE).events[0].key == "elsewhere/1"
    assert program.delete_prefix("elsewhere/").deleted == 0


def test_without_the_store_it_only_reads(started, opened, url, sock):
    started()
    key, value = entry(1)
    opened(url).put(key, value)
    program = opened(f"agent+unix://{sock}")
    until(lambda: program.get(key) is not None, what="the agent has it")
    assert program.get(key).value == value
    for refused in (lambda: program.put("a", b""), lambda: program.lease(5.0), lambda: program.delete(key)):
        with pytest.raises(Unsupported, match="add the option store=URL"):
            refused()
    with pytest.raises(tenure.ConfigError, match=r"serves '/registry/default/' alone.*option store"):
        program.list("/registry/other/")


def test_values_that_are_no_text_arrive(started, opened, url, through):
    started()
    odd = {f"{PREFIX}{name}": value for name, value in {"a": b"\xff\x00", "b": b"", "ü\n'\"": "ü".encode()}.items()}
    direct, program = opened(url), opened(through)
    with program.watch(PREFIX) as watch:
        assert watch.next(PATIENCE).type is BatchType.SNAPSHOT
        for key, value in odd.items():
            direct.put(key, value)
        seen = {}
        while len(seen) < len(odd):
            seen |= {event.key: event.item.value for event in watch.next(PATIENCE).events}
        assert seen == odd
    assert {item.key: item.value for item in program.list(PREFIX)} == odd
    with program.watch(PREFIX) as watch:
        assert {event.key: event.item.value for event in watch.next(PATIENCE).events} == odd


def test_a_watch_resumes_after_a_revision_and_is_told_of_a_gap(started, opened, url, sock):
    direct = opened(url)
    direct.put(*entry(0))
    started()
    program = opened(f"agent+unix://{sock}")
    until(lambda: len(program.list(PREFIX)) == 1, what="the agent watches, so it knows each change from now on")
    first = direct.put(*entry(1)).revision
    direct.put(*entry(2))
    until(lambda: len(program.list(PREFIX)) == 3, what="the agent has all")
    with program.watch(PREFIX, after=first) as watch:
        assert [event.key for event in watch.next(PATIENCE).events] == [entry(2)[0]]
    with program.watch(entry(1)[0], exact=True) as watch:
        assert [event.key for event in watch.next(PATIENCE).events] == [entry(1)[0]]
    for unknown in (0, first + 1_000_000):
        with pytest.raises(tenure.Compacted), program.watch(PREFIX, after=unknown) as watch:
            watch.next(PATIENCE)
    with opened(f"agent+unix://{sock}?store={url}").watch(PREFIX, after=0) as watch:
        keys: list[str] = []
        while len(keys) < 3:
            keys += [event.key for event in watch.next(PATIENCE).events]
        assert keys == [entry(number)[0] for number in range(3)], "the store has what the agent never saw"


def test_pages_are_pages(started, opened, url, through):
    started()
    direct, program = opened(url), opened(through)
    for number in range(10, 30):
        direct.put(*entry(number))
    until(lambda: len(program.list(PREFIX)) == 20, what="the agent has all")
    assert program.list(PREFIX, limit=7).items == direct.list(PREFIX, limit=7).items
    assert [item.key for item in program.scan(PREFIX, page_size=3)] == list(direct.list(PREFIX).keys)


def test_some_services_alone(started, opened, url, through):
    started(prefixes=(f"{PREFIX}web/", f"{PREFIX}db/"))
    direct = opened(url)
    direct.put(*entry(1))
    direct.put(*entry(2, "other"))
    program = opened(through)
    with Registry(program, RegistryConfig(services=["web", "db"])) as registry:
        assert [each.id for each in registry.wait_for("web", 1, PATIENCE)] == ["1"]
    assert ask_status_entries(through) == 1


def ask_status_entries(through: str) -> int:
    return ask_status(through.partition("://")[2].partition("?")[0]).entries


def test_the_store_of_another_namespace_is_refused(started, url, sock):
    started()
    with pytest.raises(tenure.ConfigError, match="names another store or namespace"):
        tenure.connect(f"agent+unix://{sock}?store={url.replace('/prod', '/test')}", wait_for_store=PATIENCE)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("agent:///x", r"write agent\+unix:///path"),
        ("agent+unix:///nowhere/x.sock", "nothing is there; start 'tenure agent"),
        ("agent+unix:///x?store=agent%2Bunix:///y", "names an agent"),
        ("agent+unix:///x?owner=nobody-of-this-name", "no such user"),
        (f"agent+unix:///{'x' * 200}", "can't be an agent's socket"),
    ],
)
def test_a_wrong_url_says_what_to_do(text, said):
    with pytest.raises(tenure.TenureError, match=said):
        tenure.connect(text)


def test_what_the_url_hides(started, opened, url, sock):
    started()
    assert opened(f"agent+unix://{sock}?store={url}").url == f"agent+unix://{sock}?store=***"
