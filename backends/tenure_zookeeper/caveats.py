"""What people should know of ZooKeeper as a store, and what shows that it is so."""

from __future__ import annotations

from tenure.spi.plugin import Caveat

_DATA = "tests/backends/zookeeper/test_data.py"
_ENSEMBLE = "tests/backends/zookeeper/test_ensemble.py"
_HISTORY = "tests/backends/zookeeper/test_history.py"
_KEYS = "tests/backends/zookeeper/test_keys.py"
_LEASES = "tests/backends/zookeeper/test_leases.py"
_OPEN = "tests/backends/zookeeper/test_open.py"
_SASL = "tests/backends/zookeeper/test_sasl.py"

CAVEATS = (
    Caveat(
        "Keys are leaf nodes in folders",
        "The value of `a/b` is at `/a/@b`, or at `/a/~b` once the key was on a lease. Nodes of other programs "
        "aren't seen as keys.",
        (
            f"{_KEYS}::test_keys_stay_readable",
            f"{_KEYS}::test_a_moved_leaf_remembers_when_the_key_began",
            f"{_DATA}::test_nodes_of_others_are_left_alone",
        ),
    ),
    Caveat(
        "A lease is a session",
        "Its TTL is within what the server allows, 4 to 40 s with the usual `tickTime`. A transaction puts keys on one"
        " lease at the most.",
        (f"{_OPEN}::test_limits_are_the_servers", f"{_LEASES}::test_a_transaction_takes_one_lease"),
    ),
    Caveat(
        "Quick changes arrive as one",
        "A watch learns that a key changed, and reads it then (`lossless_watch=False`), and after a reconnect there is"
        " a RESYNC batch. A list is not one point in time.",
        (
            "watches.watchers_converge",
            "watches.after_a_revision_work_or_are_refused",
            f"{_DATA}::test_keys_that_move_are_not_missed",
        ),
    ),
    Caveat(
        "Lost or restored data",
        "Revisions start again in servers that lost their data. The store refuses a revision of the lost data, and "
        "watches show the difference. It can't refuse a revision that it has not read. The servers of an ensemble "
        "refuse a client that has seen more than they have. The store is used again once the leader and most servers "
        "of the URL say twice by `srvr` that they are behind. `srvr` has to be among `4lw.commands.whitelist`.",
        (
            f"{_HISTORY}::test_a_revision_of_lost_data_is_refused",
            f"{_HISTORY}::test_a_revision_that_was_not_read_here_is_a_number",
            f"{_HISTORY}::test_all_watches_are_told_the_truth",
            f"{_HISTORY}::test_an_emptied_ensemble_is_used_again",
        ),
    ),
    Caveat(
        "What a read costs on several servers",
        "A write that changes nothing precedes each read (`reads=quorum`). So a read misses no write that any server "
        "acknowledged (`linearizable`), and costs what a put costs. Read-heavy programs that can live with less set "
        "`reads=sync`. Then a `sync` precedes each read, at half to two thirds of the cost. A leader that was replaced"
        " and doesn't know it yet answers it from the past. Writes and their preconditions are judged by a quorum "
        "either way: a `Conflict` is never about a state older than the call.",
        (
            f"{_ENSEMBLE}::test_every_read_shows_what_another_server_acknowledged",
            f"{_ENSEMBLE}::test_a_leader_that_was_replaced_answers_no_read",
            f"{_ENSEMBLE}::test_cheaper_reads_never_go_back_and_soon_see_every_write",
            f"{_ENSEMBLE}::test_no_precondition_fails_on_a_state_older_than_the_call",
        ),
    ),
    Caveat(
        "Who the user of the URL is",
        "Any client that knows the password. ZooKeeper has no list of users for `auth=digest`. A wrong password only "
        "shows where `acl=creator` or `acl=read` has kept nodes for the right one. With `auth=sasl` the servers have a"
        " list (`DigestLoginModule` in their JAAS configuration), refuse others as `AuthenticationFailed`, and may "
        "serve no other clients (`sessionRequireClientSASLAuth`). The mechanism is DIGEST-MD5 and needs nothing "
        "installed; Kerberos (GSSAPI) isn't supported.",
        (
            f"{_OPEN}::test_access_lists",
            f"{_SASL}::test_a_wrong_password_is_told_in_time",
            f"{_SASL}::test_who_does_not_log_in_is_told_what_is_missing",
        ),
    ),
    Caveat(
        "Rights that change are noticed by the folder",
        "ZooKeeper 3.8.4, 3.9.2 and later send no event of a node that the client may not read, and none when access "
        "lists change. A watch looks at the list of its folder, or of its only key, every five seconds. If that was "
        "changed, the watch reads everything again, and reports a missing right. So change the list of the folder when "
        "you change those of the keys below it, as `setAcl -R` does. A right that is taken away on a key alone hides "
        "the changes of that key from watches of the folder.",
        ("tests/cross_store/test_rights.py::test_rights_that_go_and_come_back",),
    ),
    Caveat(
        "About a megabyte in all",
        "A value and the path have to fit into a packet of about 1 MB, and so has a whole transaction.",
        (f"{_OPEN}::test_too_large_is_refused_before_it_is_sent",),
    ),
    Caveat(
        "Empty folders stay for a while",
        "The server removes them, within a minute or so.",
        (f"{_DATA}::test_empty_folders_go_away",),
    ),
    Caveat(
        "A full disk ends the server, a quota doesn't",
        "What was under way is `OutcomeUnknown`, then the store is `Unavailable` until an operator makes room and "
        "starts the server. Where quotas are enforced (`enforceQuota`), a put beyond one is `StoreFull`.",
        ("tests/cross_store/test_no_room.py::test_a_server_without_room",),
    ),
)
