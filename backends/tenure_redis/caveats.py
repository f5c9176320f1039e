"""What people should know of Redis as a store, and what shows that it is so."""

from __future__ import annotations

from tenure.spi.plugin import Caveat

_LEASES = "tests/backends/redis/test_leases.py"
_OPEN = "tests/backends/redis/test_open.py"
_SENTINEL = "tests/backends/redis/test_sentinel.py"
_TRANSACTIONS = "tests/backends/redis/test_transactions.py"
_WATCH = "tests/backends/redis/test_watch.py"

CAVEATS = (
    Caveat(
        "What it promises depends on its settings",
        "It is asked for them when it is opened. `durable` needs the append-only file with `appendfsync "
        "always`; `linearizable` needs a server without replicas. A program that can't live with less says "
        '`require=["durable", "linearizable"]`. `tenure doctor` lists the settings that weaken its '
        "promises.",
        (f"{_OPEN}::test_what_is_declared_and_what_is_risky",),
    ),
    Caveat(
        "A failover may lose writes",
        "With replicas, Sentinel or Cluster, writes that were acknowledged just before it may be missing after it. "
        "Watchers receive a RESYNC batch, and compare-and-set on a lost revision is refused. Revisions follow the "
        "server's clock: while the new primary's clock is behind the old one's, its revisions are lower than the lost "
        "ones.",
        (
            f"{_SENTINEL}::test_a_replica_that_lagged_is_a_resync_not_a_silence",
            f"{_OPEN}::test_of_several_hosts_the_primary_is_used",
        ),
    ),
    Caveat(
        "Without persistence a restart forgets everything",
        "Watchers receive a RESYNC batch with the deletes, and registered instances are back within a heartbeat.",
        (
            f"{_WATCH}::test_a_restart_without_persistence_is_a_resync_with_its_deletes",
            f"{_WATCH}::test_a_history_put_back_under_running_watches",
            f"{_LEASES}::test_a_registration_is_back_after_a_restart_without_persistence",
        ),
    ),
    Caveat(
        "No eviction",
        "`maxmemory-policy` has to be `noeviction`: otherwise Redis throws away whole namespaces when its "
        "memory is full. Tenure notices a key of Redis that is missing: clients that watch within half a second, "
        "others by the next list, write or refresh. Watches then end with what is there. A lease that is only partly "
        "known has ended.",
        (
            f"{_OPEN}::test_what_is_declared_and_what_is_risky",
            f"{_WATCH}::test_a_part_that_an_operator_removes_is_noticed",
        ),
    ),
    Caveat(
        "One shard",
        "All of a store is on one shard of a cluster. The option `store` gives parts of a system stores of their own.",
        (
            f"{_SENTINEL}::test_a_cluster_by_any_of_its_nodes",
            f"{_OPEN}::test_stores_are_apart_and_namespaces_share_one",
        ),
    ),
    Caveat(
        "Redis itself ends no leases here",
        "Clients remove ended leases whenever they read, write or watch. What a program gets is right in any case; "
        "Redis's own tools may show what has ended.",
        (
            f"{_LEASES}::test_an_ended_lease_shows_no_keys_to_anyone_who_looks",
            f"{_WATCH}::test_a_lease_that_ends_is_told_in_time_by_the_watcher_alone",
        ),
    ),
    Caveat(
        "Leases live by the clock of the server's machine",
        "When another process answers, after a failover or a restart, each lease gets its full TTL again, whatever the "
        "clocks say. That needs the right to `INFO` (ACL `+info`). While one process runs, a step of its machine's "
        "clock counts: a step forward ends leases earlier by as much, one back later. Let the time service slew the "
        "clock, not step it.",
        (
            f"{_LEASES}::test_a_server_whose_clock_is_ahead_gives_no_held_lease_away",
            f"{_LEASES}::test_a_step_of_the_running_servers_clock_ends_leases_by_as_much_earlier",
        ),
    ),
    Caveat(
        "A full memory or disk",
        "At `maxmemory` it refuses puts by `StoreFull` and lets deletes through. On a full disk it refuses every write"
        " by `StoreFull` and answers reads. If `appendfsync` is `always`, its process ends instead, and what was under"
        " way is `OutcomeUnknown`.",
        (
            "tests/cross_store/test_no_room.py::test_a_server_without_room",
            f"{_TRANSACTIONS}::test_a_full_memory_refuses_puts_and_lets_deletes_and_leases_through",
        ),
    ),
)
