"""However a program ends, with stores open or used at the very end, it ends at once and without a traceback."""

import pytest

from tenure_testkit.probes import programs


@pytest.mark.parametrize("what", programs.ENDS)
def test_a_program_ends_in_good_order(store_url, what):
    programs.end(what, store_url)
