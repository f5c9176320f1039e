"""A refused transaction names the keys it was refused for, as the caller named them."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import pytest

from tenure import Store
from tenure.errors import Conflict


def test_a_conflict_names_the_callers_keys(store_url: str, opened: Callable[..., Store]) -> None:
    embedded = store_url.startswith(("memory", "sqlite"))
    store = opened(f"{store_url}?namespace=inside" if embedded else store_url)  # a server's URL has one already
    there = store.put("k/there", b"")
    for refused, key in (
        (lambda: store.put_if_absent("k/there", b""), "k/there"),
        (lambda: store.put_if_unchanged("k/there", b"", revision=there.revision + 1), "k/there"),
        (lambda: store.put_if_unchanged("k/there", b"", revision=10**25), "k/there"),
        (lambda: store.delete("k/missing", revision=there.revision), "k/missing"),
        (lambda: store.transaction().if_exists("k/missing").put("k/new", b"").commit(), "k/missing"),
    ):
        with pytest.raises(Conflict) as caught:
            refused()
        assert caught.value.keys == (key,)
        assert str(caught.value).startswith(f"{key!r}: ")
    # Not every store tells which of several guards it was.
    several = store.transaction().if_exists("k/there").if_absent("k/missing").if_absent("k/there").delete("k/there")
    with pytest.raises(Conflict) as caught:
        several.commit()
    assert "k/there" in caught.value.keys
    assert set(caught.value.keys) <= {"k/there", "k/missing"}


def test_a_conflict_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(Conflict("doesn't exist", keys=["a", "b", "a"], revision=7)))
    assert (error.keys, error.revision, str(error)) == (("a", "b"), 7, "'a', 'b': doesn't exist")
