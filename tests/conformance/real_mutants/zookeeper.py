"""Faults of ZooKeeper's backend."""

from __future__ import annotations

from .model import Kind, RealMutant

_FOLDER = "backends/tenure_zookeeper"
_DATA = ("tests/backends/zookeeper/test_data.py",)
_HISTORY = ("tests/backends/zookeeper/test_history.py",)
_LEASES = ("tests/backends/zookeeper/test_leases.py",)
_WATCH = ("tests/backends/zookeeper/test_watch.py",)

MUTANTS = (
    RealMutant(
        id="zookeeper-new-keys-touch-no-folder",
        kind=Kind.ABA,
        file=f"{_FOLDER}/transactions.py",
        old="        plan.touched.add(state.folder)\n        if state.homeless:",
        new="        if state.homeless:",
        wrong="A guarded write succeeds on a key that was deleted and made again by others.",
        rules=("transactions.notice_delete_and_recreate", "transactions.*", "kv.*"),
        tests=_DATA,
    ),
    RealMutant(
        id="zookeeper-guard-without-folders",
        kind=Kind.ABA,
        file=f"{_FOLDER}/transactions.py",
        old="        if exact:\n            plan.held.update(state.above)\n",
        new="",
        wrong="A guarded write that meets a delete and a create between its read and its multi succeeds.",
        rules=(
            "faults.a_held_up_write_keeps_its_guard",
            "transactions.notice_delete_and_recreate",
            "transactions.notice_what_others_delete_and_recreate",
        ),
        tests=("tests/backends/zookeeper/test_data.py::test_a_key_made_again_is_another_key",),
    ),
    RealMutant(
        id="zookeeper-cached-versions-without-folders",
        kind=Kind.ABA,
        file=f"{_FOLDER}/transactions.py",
        old="checks = [encoding.check(folder, version) for folder, version in proof.folders.items()]",
        new="checks = [encoding.check(folder, version) for folder, version in list(proof.folders.items())[:1]]",
        wrong="A compare-and-set from memory succeeds on a key that others deleted and made again.",
        rules=("transactions.notice_delete_and_recreate", "transactions.*", "kv.*"),
        tests=_DATA,
    ),
    RealMutant(
        id="zookeeper-two-nodes-for-a-key",
        kind=Kind.LEASE_RACE,
        file=f"{_FOLDER}/transactions.py",
        old='plan.parts += [_create(connection, moved, b"", encoding.PERSISTENT), encoding.delete(moved)]',
        new="plan.touched.discard(moved)",
        wrong="Puts with and without a lease that race leave two nodes: a deleted key comes back.",
        rules=(
            "faults.a_held_up_put_leaves_one_truth",
            "leases.racing_for_a_key_leave_one_truth",
            "leases.racing_in_several_processes_leave_one_truth",
        ),
        tests=("tests/backends/zookeeper/test_data.py::test_a_put_that_another_put_overtakes_leaves_one_node",),
    ),
    RealMutant(
        id="zookeeper-moves-what-it-did-not-see",
        kind=Kind.LEASE_RACE,
        file=f"{_FOLDER}/transactions.py",
        old="    plan.held.update(state.above)\n    data = keys.pack(put.value, state.origin)\n",
        new="    data = keys.pack(put.value, state.origin)\n",
        wrong="A put that changes the lease takes the create revision of a key that was deleted meanwhile.",
        rules=(
            "faults.a_held_up_put_leaves_one_truth",
            "leases.deleted_keys_do_not_come_back",
            "leases.racing_for_a_key_leave_one_truth",
            "leases.racing_in_several_processes_leave_one_truth",
        ),
        tests=("tests/backends/zookeeper/test_data.py::test_a_put_that_another_put_overtakes_leaves_one_node",),
    ),
    RealMutant(
        id="zookeeper-ended-session-is-an-error",
        kind=Kind.ENDED_LEASE,
        file=f"{_FOLDER}/leases.py",
        old="                if answer.error == encoding.Code.SESSION_EXPIRED:\n",
        new="                if answer.error == encoding.Code.SESSION_MOVED:\n",
        wrong="A put on a lease whose session ended raises another error than LeaseNotFound.",
        rules=(
            "transactions.on_an_ended_lease_change_nothing",
            "leases.revoked_stay_dead",
            "leases.take_keys_put_at_their_very_end",
        ),
        tests=("tests/backends/zookeeper/test_leases.py::test_a_session_that_the_server_says_has_ended_is_no_lease",),
    ),
    RealMutant(
        id="zookeeper-list-without-keys-that-move",
        kind=Kind.LEASE_RACE,
        file=f"{_FOLDER}/reads.py",
        old="            gone.append(key)\n",
        new="            continue\n",
        wrong="A list leaves out keys that change their lease while it is read.",
        rules=("faults.a_held_up_list_shows_what_stays", "lists.by_scan_miss_nothing_that_stays"),
        tests=("tests/backends/zookeeper/test_data.py::test_a_key_that_moves_once_its_name_was_read_is_listed",),
    ),
    RealMutant(
        id="zookeeper-watch-added-after-the-list",
        kind=Kind.GAP,
        file=f"{_FOLDER}/watch.py",
        old=(
            "        self._add(feed, deadline)\n"
            '        self._worker.start("watching")\n'
            "        page = self._list(request, deadline)\n"
        ),
        new=(
            "        page = self._list(request, deadline)\n"
            "        self._add(feed, deadline)\n"
            '        self._worker.start("watching")\n'
        ),
        wrong="A watch never tells what was written between its list and its watch.",
        rules=("faults.a_held_up_watch_misses_nothing", "watches.begin_with_the_present_state"),
        tests=("tests/backends/zookeeper/test_watch.py::test_what_is_written_once_the_list_was_read_is_told",),
    ),
    RealMutant(
        id="zookeeper-unanswered-write-not-applied",
        kind=Kind.LOST_ANSWER,
        file=f"{_FOLDER}/connection.py",
        old="        if not write or unsent:\n",
        new="        if not write or unsent or in_time:\n",
        wrong="A write whose connection broke is reported as not applied, and repeated by core.",
        rules=("faults.a_lost_answer_is_unknown_and_applied_at_most_once", "faults.*"),
        tests=("tests/backends/zookeeper/test_faults.py",),
    ),
    RealMutant(
        id="zookeeper-versions-outlive-the-data",
        kind=Kind.REPLACED,
        file=f"{_FOLDER}/connection.py",
        old="        self.losses += 1\n        self.versions.forget()\n",
        new="        self.losses += 1\n",
        wrong="After a loss of data a compare-and-set from memory succeeds on another value.",
        rules=("restarts.revisions_of_lost_data_count_no_more", "restarts.restored_data_refuse_later_revisions"),
        tests=("tests/backends/zookeeper/test_history.py::test_versions_of_lost_data_prove_nothing",),
    ),
    RealMutant(
        id="zookeeper-lost-data-unseen",
        kind=Kind.REPLACED,
        file=f"{_FOLDER}/client.py",
        old="            if header.zxid < self._expected:\n",
        new="            if header.zxid < 0:\n",
        wrong="A server that lost its data is taken for the old one: an old revision fits another write.",
        rules=("restarts.*", "faults.*"),
        tests=_HISTORY,
    ),
    RealMutant(
        id="zookeeper-deletes-before-the-snapshot",
        kind=Kind.GAP,
        file=f"{_FOLDER}/watch.py",
        old="                items.pop(key, None)  # seen to be gone before",
        new="                continue  # seen to be gone before",
        wrong="A snapshot shows keys that were deleted before its revision.",
        rules=("faults.a_held_up_watch_misses_nothing", "watches.begin_with_the_present_state"),
        tests=(
            "tests/backends/zookeeper/test_watch.py::test_a_snapshot_shows_no_key_that_was_deleted_before_its_revision",
        ),
    ),
    RealMutant(
        id="zookeeper-another-session-taken-for-ours",
        kind=Kind.ENDED_LEASE,
        file=f"{_FOLDER}/session.py",
        old="        if self.number not in (0, number):\n",
        new="        if number == 0:\n",
        wrong="A lease that ended is taken to live on in a new session, which holds no key.",
        unnoticeable="ZooKeeper itself answers 0 for an ended session; compatible servers don't.",
        tests=("tests/backends/zookeeper/test_leases.py::test_a_new_session_in_place_of_the_old_one_is_a_lost_lease",),
    ),
)
