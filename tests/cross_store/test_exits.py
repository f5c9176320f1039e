"""However a program ends, with stores open or used at the very end, it ends at once and without a traceback."""

import pytest

import tenure
from tenure_testkit.probes import programs


@pytest.mark.parametrize("what", programs.ENDS)
def test_a_program_ends_in_good_order(store_url, what):
    programs.end(what, store_url)


def test_the_first_store_may_be_opened_at_the_very_end(store_url):
    assert programs.run(programs.FIRST_AT_THE_END, store_url) == "done"


def test_a_handler_that_closes_in_the_middle_of_calls_leaves_nothing_registered(store_url):
    for _ in range(2):  # the signal comes anywhere
        programs.end("closed by the handler of SIGTERM", store_url)
        if not store_url.startswith("memory"):
            with tenure.connect(store_url, timeout=20.0) as store:
                assert list(store.list("/registry/")) == []
