"""Keys and nodes: the mapping is reversible, readable, and made of names that the server takes."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.conformance.workloads.sample_keys import ODD_KEYS
from tenure_zookeeper import keys

_REFUSED = re.compile("[\u0000-\u001f\u007f-\u009f\ud800-\uf8ff\ufff0-\uffff\U00010000-\U0010ffff]")

_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=40)
_PATHS = st.lists(st.sampled_from(["", ".", "..", "a", "@", "~", "@a", "~b", "%", "%2E", "zookeeper", ".leasehold"]))


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("a/b", "/a/@b"),
        ("a", "/@a"),
        ("registry/default/web/1@host", "/registry/default/web/@1@host"),
        ("a//b", "/a/%/@b"),
        ("/a/", "/%/a/@"),
        ("./../x", "/%2E/%2E%2E/@x"),
        ("zookeeper/x", "/%7Aookeeper/@x"),
        ("x/zookeeper/y", "/x/zookeeper/@y"),
        ("@a/~b/c", "/%40a/%7Eb/@c"),
        ("100%/x", "/100%25/@x"),
        ("a/.leasehold/b", "/a/%2Eleasehold/@b"),
        ("\u00e9\U0001f600", "/@\u00e9%F0%9F%98%80"),
    ],
)
def test_keys_stay_readable(key: str, path: str) -> None:
    assert keys.leaves(key)[0] == path
    assert keys.key_of(path) == key


@pytest.mark.parametrize("key", ODD_KEYS)
def test_odd_keys_come_back(key: str) -> None:
    _check(key)


@given(_TEXT)
def test_any_text_comes_back(key: str) -> None:
    _check(key)


@given(_PATHS)
def test_any_path_comes_back(segments: list[str]) -> None:
    _check("/".join(segments) or "x")


@given(_PATHS, _PATHS)
def test_different_keys_have_different_nodes(one: list[str], two: list[str]) -> None:
    first, second = "/".join(one) or "x", "/".join(two) or "x"
    assert (keys.leaves(first) == keys.leaves(second)) == (first == second)


@pytest.mark.parametrize(
    "path",
    ["/a", "/a/b", "/zookeeper/@x", "/a/@%2e", "/a/@%41", "/%41/@b", "/a/@%", "/.leasehold/@x", "/a/@%FF", "/%2/@a"],
)
def test_nodes_of_others_are_no_keys(path: str) -> None:
    assert keys.key_of(path) is None


def test_a_moved_leaf_remembers_when_the_key_began() -> None:
    assert keys.unpack(keys.pack(b"value"), own=7) == (b"value", 7)
    assert keys.unpack(keys.pack(b"", 3), own=7) == (b"", 3)
    assert keys.unpack(b"odd", own=7) == (b"odd", 7)


def _check(key: str) -> None:
    for path in keys.leaves(key):
        assert keys.key_of(path) == key
        assert not _REFUSED.search(path)
        assert not re.search(r"//|/\.{1,2}(/|$)|/$", path)
