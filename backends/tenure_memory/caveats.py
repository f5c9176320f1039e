"""What people should know of memory as a store, and what shows that it is so."""

from __future__ import annotations

from tenure.spi.plugin import Caveat

_TESTS = "tests/backends/memory/test_memory.py"

CAVEATS = (
    Caveat(
        "Gone with the process",
        "Everyone in this process who opens the name shares the store, and `memory://` without a name belongs "
        "to its opener alone. Of several openers the first one decides on the history and the clock. A forked "
        "child begins with empty stores.",
        (
            f"{_TESTS}::test_a_name_is_shared_and_no_name_is_private",
            f"{_TESTS}::test_the_first_opener_decides_on_clock_and_history",
            f"{_TESTS}::test_a_forked_child_has_servers_of_its_own",
        ),
    ),
    Caveat(
        "Time moves as a test wants it",
        "Leases and watches behave as with a server, threads included; with `connect(url, "
        "clock=tenure.ManualClock())` time stands still until the test moves it.",
        (
            f"{_TESTS}::test_a_lease_ends_by_the_clock_and_takes_its_keys",
            f"{_TESTS}::test_the_reaper_tells_watchers_without_any_call",
        ),
    ),
    Caveat(
        "Faults on demand",
        '`tenure_memory.server("NAME")` gives a test the controls of a store. It can expire a lease, cut watches, be '
        "out of order for a while, leave a write without an answer, and lose everything.",
        (
            f"{_TESTS}::test_expire_lease",
            f"{_TESTS}::test_cut_watches",
            f"{_TESTS}::test_an_outage_keeps_the_data_but_not_the_leases_time",
            f"{_TESTS}::test_an_unknown_outcome",
            f"{_TESTS}::test_lost_data",
        ),
    ),
)
