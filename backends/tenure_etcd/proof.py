"""Proves that a member still has the history that was seen, or finds that the history was replaced.

Asked are one linearizable read and the member's status, both of the same member, so that the second can't be behind
the first. The read shows the *witness*, the last change that was seen, at its own revision. If etcd no longer has that
revision, cluster, term, revision and surplus decide alone.
"""

from __future__ import annotations

from typing import Any, NoReturn

from tenure.errors import AuthenticationFailed, Compacted, HistoryReplaced, PermissionDenied
from tenure.plugin_kit import Deadline
from tenure.spi.types import KeyValue, WatchRequest
from tenure_etcd.connection import Connection
from tenure_etcd.encoding import item
from tenure_etcd.history import Mark, Moment, Witness, content_of, parse_mark
from tenure_etcd.keys import watched_range
from tenure_etcd.members import Member
from tenure_etcd.messages import MESSAGES

_RangeRequest = MESSAGES["RangeRequest"]
_RequestOp = MESSAGES["RequestOp"]

_ACTION = "looking whether the store has the same history"


def prove_feed(
    connection: Connection, member: Member, request: WatchRequest, *, timeout: float
) -> tuple[Moment, Mark | None]:
    """Return a moment of the history that a feed resumes in, and the feed's mark, ``None`` if it has none.

    Raises ``HistoryReplaced`` on any evidence that the feed's history isn't the store's present one.
    """
    asking, generation = _Asking(connection, Deadline(timeout)), connection.history.latest.generation
    after = request.after or 0
    if not request.mark:
        if not member.trusted:
            prove_member(connection, member, request.prefix, timeout=timeout)
        header = asking.read(member, _plain(request)).header
        if header.revision < after:
            raise HistoryReplaced(
                f"watching: revision {after} isn't in the history of etcd at {connection.endpoints}, which is at "
                f"revision {header.revision}; read the present state and watch from there"
            )
        return Moment(generation, header.cluster_id, header.raft_term, header.revision), None
    mark = parse_mark(request.mark)
    seen = Moment(mark.generation, mark.cluster, mark.term, after)
    if mark.generation != generation:
        _refuse(connection, "another call has noticed it")
    header, evidence = asking.witness(member, request, mark)
    asking.judge(member, seen, header, mark.surplus, evidence)
    return seen._replace(term=header.raft_term), mark


def prove_member(connection: Connection, member: Member, key: str, *, timeout: float) -> None:
    """Trust a member whose connection is new, before a write that depends on a revision of ``key``.

    Raises ``HistoryReplaced`` on any evidence that it has another history than the store had.
    """
    history, asking = connection.history, _Asking(connection, Deadline(timeout))
    latest, surplus, seen, breaks = history.latest, history.surplus, history.seen, member.breaks
    evidence = ""
    header = None
    if seen is not None:
        request = _RangeRequest(key=seen.key.encode(), revision=max(seen.mod_revision, 1))
        try:
            answer = asking.read(member, request)
        except HistoryReplaced:
            evidence = f"revision {seen.mod_revision} is no longer there"
        except (Compacted, PermissionDenied):
            pass
        else:
            header = answer.header
            if not _is_seen(seen, answer.kvs):
                evidence = f"{seen.key!r} is not at revision {seen.mod_revision} what it was"
    if header is None:
        header = asking.read(member, _RangeRequest(key=key.encode(), count_only=True)).header
    asking.judge(member, latest, header, surplus, evidence)
    member.trusted = member.breaks == breaks


class _Asking:
    """The questions to one member, within one deadline."""

    def __init__(self, connection: Connection, deadline: Deadline) -> None:
        self._connection, self._deadline = connection, deadline

    def read(self, member: Member, request: Any, method: str = "Range") -> Any:
        return self._connection.call(
            method, request, timeout=self._deadline.remaining(), write=False, action=_ACTION, member=member
        )

    def witness(self, member: Member, request: WatchRequest, mark: Mark) -> tuple[Any, str]:
        """A linearizable answer's header, and what is wrong with the mark's witness, if anything."""
        problem = ""
        if mark.witness is not None:
            try:
                return self._compare(member, request, mark.witness, mark.quiet_since)
            except HistoryReplaced:
                problem = f"revision {mark.quiet_since} is no longer there"
            except Compacted:
                pass  # then the rest decides
        return self.read(member, _plain(request)).header, problem

    def _compare(self, member: Member, request: WatchRequest, witness: Witness, since: int) -> tuple[Any, str]:
        if not witness.key:
            start, end = watched_range(request)
            first = _RangeRequest(key=start, range_end=end, revision=since, limit=1, keys_only=True)
            answer = self.read(member, first)
            return answer.header, "keys are there that weren't" if answer.kvs else ""
        if witness.content is None:
            return self._deleted(member, witness, since)
        answer = self.read(member, _RangeRequest(key=witness.key.encode(), revision=since))
        same = len(answer.kvs) == 1 and content_of(item(answer.kvs[0])) == witness.content
        return answer.header, "" if same else f"{witness.key!r} is not at revision {since} what it was"

    def _deleted(self, member: Member, witness: Witness, since: int) -> tuple[Any, str]:
        """The same for a delete: the key was there just before and isn't there afterwards."""
        key, before = witness.key.encode(), witness.revision - 1
        reads = [
            _RequestOp(request_range=_RangeRequest(key=key, revision=since, keys_only=True)),
            _RequestOp(request_range=_RangeRequest(key=key, revision=before, keys_only=True)),
        ]
        answer = self.read(member, MESSAGES["TxnRequest"](success=reads), "Txn")
        now, earlier = (response.response_range.kvs for response in answer.responses)
        same = earlier and not now
        return answer.header, "" if same else f"{witness.key!r} was not deleted at revision {witness.revision}"

    def judge(self, member: Member, seen: Moment, header: Any, surplus: int | None, evidence: str) -> None:
        """Raise ``HistoryReplaced`` if there is any evidence, after the connection has noted it."""
        reason = evidence or _gone_back(seen, header) or self._fallen(member, surplus, header)
        if reason:
            now = Moment(0, header.cluster_id, header.raft_term, header.revision)
            self._connection.history.replace(seen, now, reason)
            _refuse(self._connection, reason)

    def _fallen(self, member: Member, surplus: int | None, header: Any) -> str:
        if surplus is None:
            return ""
        try:
            status = self._connection.status(member, timeout=self._deadline.remaining())
        except (PermissionDenied, AuthenticationFailed):
            return ""
        # Behind a load balancer another member may have answered, and that one may be behind.
        if status.header.member_id != header.member_id or status.raftIndex - status.header.revision >= surplus:
            return ""
        return f"the raft log has {status.raftIndex} entries for {status.header.revision} revisions"


def _plain(request: WatchRequest) -> Any:
    """A read that tells the revision, and needs no more rights than the prefix."""
    return _RangeRequest(key=watched_range(request)[0], count_only=True)


def _gone_back(seen: Moment, header: Any) -> str:
    if header.cluster_id != seen.cluster:
        return f"the cluster is {header.cluster_id:x} and was {seen.cluster:x}"
    if header.raft_term < seen.term:
        return f"the raft term is {header.raft_term} and was {seen.term}"
    if header.revision < seen.revision:
        return f"the revision is {header.revision} and was {seen.revision}"
    return ""


def _is_seen(seen: KeyValue, found: Any) -> bool:
    if len(found) != 1:
        return False
    present = item(found[0])
    return present == seen or (seen.create_revision == 0 and present._replace(create_revision=0) == seen)


def _refuse(connection: Connection, reason: str) -> NoReturn:
    raise HistoryReplaced(
        f"{_ACTION}: the data of etcd at {connection.endpoints} were lost or replaced by a backup ({reason}); read the "
        "present state again; nothing was changed"
    )
