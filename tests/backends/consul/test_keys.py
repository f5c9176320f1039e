"""Keys as they stand in Consul: reversible, never aliased, ordinary ones readable."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure import ConfigError
from tenure_consul.keys import Layout, decode, encode

KEYS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=40) | st.text(
    "ab/.%é\x01\u00a0", min_size=1, max_size=12
)


@given(KEYS, KEYS)
def test_codes_are_reversible_distinct_and_keep_prefixes(key: str, other: str):
    assert decode(encode(key)) == key
    assert (encode(key) == encode(other)) == (key == other)
    assert encode(key + other).startswith(encode(key))


@given(KEYS)
def test_codes_have_nothing_that_a_url_path_loses(key: str):
    segments = encode(key).split("/")
    assert not any(segment in (".", "..") for segment in segments)
    assert "" not in segments[:-1]
    assert encode(key).isprintable()


@pytest.mark.parametrize(
    "key", ["registry/default/web/7f@host", "a", "a/b.c/-_~!*'()@:;,", "with space", "straße/日本"]
)
def test_ordinary_keys_stay_as_they_are(key: str):
    assert encode(key) == key


@pytest.mark.parametrize(
    ("key", "code"),
    [("a//b", "a/%2Fb"), ("/a", "%2Fa"), ("..", "%2E."), ("50%", "50%25"), ("a\nb", "a%0Ab"), ("a\xadb", "a%C2%ADb")],
)
def test_the_others_are_spelt(key: str, code: str):
    assert encode(key) == code


@pytest.mark.parametrize("name", ["", "a//b", "%", "%41", "%2f", "/a", "%FF", "%00"])
def test_names_that_no_key_has_are_somebody_elses(name: str):
    assert Layout.below("leasehold").key(f"leasehold/kv/{name}") is None


@given(st.lists(KEYS.map(encode) | st.text("ab/.%\x01\u00a0", max_size=6), min_size=1, max_size=4))
def test_names_read_together_are_the_keys_that_each_is(codes: list[str]):
    layout = Layout.below("leasehold")
    paths = [layout.data + code for code in codes]
    together = layout.plain_keys(paths)
    assert together is None or together == list(map(layout.key, paths))


def test_ordinary_names_are_read_together():
    layout = Layout.below("leasehold")
    assert layout.plain_keys(["leasehold/kv/a/b.c", "leasehold/kv/d e"]) == ["a/b.c", "d e"]


@pytest.mark.parametrize("root", ["", "/a", "a/", "a//b", "..", "a/../b", "a b", "%41"])
def test_a_root_is_made_of_plain_names(root: str):
    with pytest.raises(ConfigError, match="root"):
        Layout.below(root)
