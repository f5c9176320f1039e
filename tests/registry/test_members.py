"""Services in pieces: equal to plain dictionaries after any changes, and what was published never changes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenure.registry import Instance
from tenure.registry.lifecycle import members as pieces
from tenure.registry.lifecycle.members import Directory, Members

SMALL = 8
"""Instances of one chunk here, so that a few changes fill, empty and gather chunks."""

changes = st.lists(
    st.lists(
        st.tuples(st.sampled_from(["a", "b", "c", "d", "e"]), st.integers(0, 60), st.integers(0, 3)),
        max_size=30,
    ),
    max_size=12,
)


def instance(service: str, number: int, port: int = 1) -> Instance:
    return Instance(service, id=str(number), host="h", host_name="h", port=port)


def contents(directory: Directory) -> dict[str, tuple[Instance, ...]]:
    return {name: service.instances for name, service in directory.whole.items()}


@pytest.fixture(autouse=True, scope="module")
def _small_chunks():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "_CHUNK", SMALL)
        patch.setattr(pieces, "_FEW_CHUNKS", 1)
        yield


@settings(max_examples=60, deadline=None)
@given(batches=changes)
def test_any_changes_leave_the_same_as_in_plain_dictionaries(batches):
    members, directory = Members(), Directory()
    model: dict[str, dict[str, Instance]] = {}
    published = []
    for batch in batches:
        for service, number, port in batch:
            key = f"{service}/{number}"
            if port:
                model.setdefault(service, {})[key] = instance(service, number, port)
                members.set(key, instance(service, number, port))
            else:
                gone = model.get(service, {}).pop(key, None)
                assert members.remove(key) == gone
                if not model.get(service, {True: True}):
                    del model[service]
        directory = members.publish(directory)
        state = {name: tuple(each.values()) for name, each in model.items()}
        assert contents(directory) == state
        assert {name: len(directory.get(name) or ()) for name in "abcde"} == {
            name: len(model.get(name, ())) for name in "abcde"
        }
        assert dict(members.items()) == {key: each for some in model.values() for key, each in some.items()}
        published.append((directory, state))
    # Readers keep what they were given: look again at those who read only now, and at those who did before.
    assert all(contents(Directory(earlier._buckets)) == state for earlier, state in published)


def test_a_directory_of_many_services_finds_each_and_forgets_those_that_go():
    members, directory = Members(), Directory()
    for number in range(40 * SMALL):
        members.set(f"s{number}/1", instance(f"s{number}", 1))
        directory = members.publish(directory)
    assert len(directory._buckets) > 1
    assert list(directory.whole) == sorted(f"s{number}" for number in range(40 * SMALL))
    for number in range(1, 40 * SMALL):
        members.remove(f"s{number}/1")
    directory = members.publish(directory)
    assert list(directory.whole) == ["s0"]
    assert directory.get("s1") is None


def test_a_few_that_stay_among_many_that_come_and_go_keep_few_chunks():
    members, directory = Members(), Directory()
    for number in range(100 * SMALL):
        members.set(f"web/{number}", instance("web", number))
    for number in range(100 * SMALL):
        if number % SMALL:
            members.remove(f"web/{number}")
    directory = members.publish(directory)
    web = directory.get("web")
    assert web is not None
    assert [int(each.id) for each in web.service] == list(range(0, 100 * SMALL, SMALL))
    # One chunk for each would be a hundred.
    assert len(web._chunks) <= 50


def test_a_change_copies_one_chunk_of_one_service_and_no_other():
    members, directory = Members(), Directory()
    for number in range(100 * SMALL):
        members.set(f"web/{number}", instance("web", number))
        members.set(f"api/{number}", instance("api", number))
    before = members.publish(directory)
    members.set("web/100", instance("web", 100, port=2))
    after = members.publish(before)
    assert after.get("api") is before.get("api")
    old, new = before.get("web"), after.get("web")
    assert old is not None
    assert new is not None
    assert sum(one is not other for one, other in zip(old._chunks, new._chunks, strict=True)) == 1
    assert (old.service[100].port, new.service[100].port) == (1, 2)
