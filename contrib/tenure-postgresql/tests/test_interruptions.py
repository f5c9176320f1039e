"""Interrupts, forks, frozen clocks and the end of the process: the same as for the stores of the main distribution."""

import pytest

from tenure_testkit.probes import frozen_time, network, programs


@pytest.mark.parametrize(
    ("program", "amount"),
    [
        (programs.EVERY_LINE, 2),
        (programs.AT_RANDOM, 40),
        (programs.HANDLER_CALLS, 40),
        (programs.HANDLER_CLOSES, 0),
        (programs.FINALIZERS, 10),
        (programs.FORKS, 2),
        (programs.FIRST_AT_THE_END, 0),
    ],
    ids=["every line", "at random", "handler calls", "handler closes", "finalizers", "forks", "first at the end"],
)
def test_interrupts_and_forks(url, program, amount):
    assert programs.run(program, url, amount).startswith("done")


@pytest.mark.parametrize("what", programs.ENDS)
def test_a_program_ends_in_good_order(url, what):
    programs.end(what, url)


def test_waits_end_and_leases_are_kept_while_time_is_frozen(url):
    frozen_time.waits_end_and_leases_are_kept(url, 1.0)
    frozen_time.calls_end_in_time(url, network.port_of(url))
