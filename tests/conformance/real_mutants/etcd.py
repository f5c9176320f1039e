"""Faults of etcd's backend."""

from __future__ import annotations

from .model import Kind, RealMutant

_FOLDER = "backends/tenure_etcd"
_HISTORY = ("tests/backends/etcd/test_history.py",)
_WATCH = ("tests/backends/etcd/test_watch.py",)
_KEYS = ("tests/backends/etcd/test_several_keys.py",)
_LEASES = ("tests/backends/etcd/test_leases.py",)

MUTANTS = (
    RealMutant(
        id="etcd-revision-nought-means-absent",
        kind=Kind.GUARD,
        file=f"{_FOLDER}/transactions.py",
        old="expected = revision if 0 < revision < 1 << 63 else _NEVER",
        new="expected = revision if revision < 1 << 63 else _NEVER",
        wrong="A guard on revision 0 holds for a missing key, and a replace creates it.",
        rules=("kv.replace_needs_the_revision", "transactions.*"),
        tests=("tests/backends/etcd/test_watch.py", "tests/backends/etcd/test_several_keys.py"),
    ),
    RealMutant(
        id="etcd-list-not-pinned",
        kind=Kind.PAGES,
        file=f"{_FOLDER}/reads.py",
        old="            revision=self.moment.revision,\n",
        new="            revision=0,\n",
        wrong="A list of more keys than one range shows halves of transactions.",
        rules=("lists.*", "transactions.are_whole_in_every_list"),
        tests=_KEYS,
    ),
    RealMutant(
        id="etcd-fragments-delivered-apart",
        kind=Kind.BACKLOG,
        file=f"{_FOLDER}/watch_stream.py",
        old="            if not response.fragment:\n",
        new="            if response.events:\n",
        wrong="A transaction in a backlog larger than a message arrives in two halves.",
        rules=("watches.*",),
        tests=_WATCH,
    ),
    RealMutant(
        id="etcd-fragments-lost",
        kind=Kind.BACKLOG,
        file=f"{_FOLDER}/watch_stream.py",
        old="            feed.parts.extend(response.events)\n",
        new="            feed.parts = list(response.events)\n",
        wrong="A watch that resumes over a backlog larger than a message is told its end alone.",
        rules=("watches.*",),
        tests=_WATCH,
    ),
    RealMutant(
        id="etcd-ended-lease-refreshed",
        kind=Kind.ENDED_LEASE,
        file=f"{_FOLDER}/leases.py",
        old="for number, lease_id in numbers.items() if ttls[number] > 0}",
        new="for number, lease_id in numbers.items()}",
        wrong="The answer that a lease has ended counts as a refresh with a TTL of 0.",
        rules=("leases.revoked_stay_dead", "leases.lost_are_told_once"),
        tests=_LEASES,
    ),
    RealMutant(
        id="etcd-late-write-not-applied",
        kind=Kind.LOST_ANSWER,
        file=f"{_FOLDER}/errors.py",
        old="where=endpoints, write=write, late=late)",
        new="where=endpoints, write=write and not late, late=late)",
        wrong="A write whose time ran out is reported as not applied, and may be applied.",
        rules=("faults.*",),
        tests=("tests/backends/etcd/test_errors.py",),
    ),
    RealMutant(
        id="etcd-broken-connection-not-sent",
        kind=Kind.LOST_ANSWER,
        file=f"{_FOLDER}/errors.py",
        old='    "empty address list",\n',
        new='    "empty address list",\n    "Socket closed",\n    "reset by peer",\n    "recvmsg",\n',
        wrong="A write whose connection broke after it was sent is sent again, and applied twice.",
        rules=("faults.a_lost_answer_is_unknown_and_applied_at_most_once", "faults.*"),
        tests=("tests/backends/etcd/test_errors.py",),
    ),
    RealMutant(
        id="etcd-watch-skips-a-revision",
        kind=Kind.BACKLOG,
        file=f"{_FOLDER}/feed.py",
        old="        self.begin = after + 1\n",
        new="        self.begin = after + 2\n",
        wrong="A watch misses the change that follows its snapshot, or the revision that it resumes after.",
        rules=("spi.feeds_resume_with_the_next_revision", "watches.*"),
        tests=_WATCH,
    ),
    RealMutant(
        id="etcd-lost-tail-unseen",
        kind=Kind.REPLACED,
        file=f"{_FOLDER}/feed.py",
        old="self.begin = max(mark.quiet_since, self.after - _OVERLAP) + 1",
        new="self.begin = self.after + 1",
        wrong="A history whose last revisions were lost and used again goes on without a RESYNC.",
        rules=("restarts.restored_data_reach_every_watch",),
        tests=_HISTORY,
    ),
    RealMutant(
        id="etcd-answers-may-go-back",
        kind=Kind.REPLACED,
        file=f"{_FOLDER}/history.py",
        old="if before.cluster and (cluster != before.cluster or term < before.term or revision < before.revision):",
        new="if before.cluster and cluster != before.cluster:",
        wrong="A guarded write on a revision of lost data succeeds on a value that nobody read.",
        unnoticeable=(
            "Each new connection proves its history before a guarded write; only a proxy between keeps one over a loss "
            "of data."
        ),
        rules=("restarts.revisions_of_lost_data_count_no_more", "restarts.restored_data_refuse_later_revisions"),
        tests=(
            "tests/backends/etcd/test_history.py::test_an_answer_that_is_behind_an_earlier_one_is_of_another_history",
        ),
    ),
    RealMutant(
        id="etcd-ttl-rounded-down",
        kind=Kind.LEASE_TIME,
        file=f"{_FOLDER}/leases.py",
        old="(TTL=math.ceil(ttl))",
        new="(TTL=math.floor(ttl))",
        wrong="A lease of 2.5 s lives for 2 s.",
        unnoticeable="Core rounds a TTL up to the seconds that the store declares before it asks the backend.",
        rules=("leases.have_a_truthful_ttl", "leases.have_limits"),
        tests=_LEASES,
    ),
    RealMutant(
        id="etcd-deletes-counted-by-operations",
        kind=Kind.GUARD,
        file=f"{_FOLDER}/transactions.py",
        old="deleted = sum(response.response_delete_range.deleted for response in answer.responses)",
        new="deleted = sum(isinstance(operation, Delete) for operation in operations)",
        wrong="A transaction reports deletes of keys that didn't exist.",
        rules=("transactions.count_only_what_they_deleted",),
        tests=_KEYS,
    ),
    RealMutant(
        id="etcd-silence-for-minutes",
        kind=Kind.DETECTION,
        file=f"{_FOLDER}/client.py",
        old='("grpc.keepalive_time_ms", int(options["keepalive"] * 1000)),',
        new='("grpc.keepalive_time_ms", int(options["keepalive"] * 60_000)),',
        wrong="A watch on a frozen server or a cut link counts as connected for minutes.",
        rules=("faults.a_watch_notices_*",),
        tests=_WATCH,
    ),
)
