"""A signal handler that raises or calls the store, at any moment, harms one call at most; so does a finalizer."""

import pytest

from tenure_testkit.probes import programs


def test_an_exception_at_any_line_leaves_nothing_locked_lost_or_wrong(store_url):
    assert programs.run(programs.EVERY_LINE, store_url, 2).startswith("done")


def test_an_exception_of_a_signal_handler_arrives_as_what_it_is(store_url):
    assert programs.run(programs.AT_RANDOM, store_url, 40).startswith("done")


def test_a_signal_handler_may_call_the_store(store_url):
    assert programs.run(programs.HANDLER_CALLS, store_url, 40).startswith("done")


@pytest.mark.parametrize("turn", range(2))
def test_a_signal_handler_may_close_the_store_and_end_the_program(store_url, turn):
    assert programs.run(programs.HANDLER_CLOSES, store_url) == "done"


def test_a_finalizer_may_revoke_and_close(store_url):
    assert programs.run(programs.FINALIZERS, store_url, 10) == "done"
