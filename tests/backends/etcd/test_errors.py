"""What each answer of etcd and gRPC turns into, for reads and for writes."""

import grpc
import pytest

from tenure import errors
from tenure_etcd.errors import stale_token, translate


class Refusal(grpc.RpcError):
    """What gRPC raises, with a code and details of our choice."""

    def __init__(self, code: grpc.StatusCode, details: str | None) -> None:
        super().__init__()
        self._code, self._details = code, details

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str | None:
        return self._details


def _translated(code: str, details: str | None, *, write: bool) -> errors.TenureError:
    exc = Refusal(grpc.StatusCode[code], details)
    return translate(exc, action="putting a key", write=write, endpoints="h:2379", timeout=1.5)


@pytest.mark.parametrize(
    ("code", "details", "expected"),
    [
        ("NOT_FOUND", "etcdserver: requested lease not found", errors.LeaseNotFound),
        ("OUT_OF_RANGE", "etcdserver: mvcc: required revision has been compacted", errors.Compacted),
        ("OUT_OF_RANGE", "etcdserver: mvcc: required revision is a future revision", errors.HistoryReplaced),
        ("RESOURCE_EXHAUSTED", "etcdserver: mvcc: database space exceeded", errors.StoreFull),
        ("RESOURCE_EXHAUSTED", "etcdserver: too many requests", errors.Unavailable),
        ("RESOURCE_EXHAUSTED", "grpc: received message larger than max (3 vs. 2)", errors.LimitExceeded),
        ("INVALID_ARGUMENT", "etcdserver: request is too large", errors.LimitExceeded),
        ("INVALID_ARGUMENT", "etcdserver: too many operations in txn request", errors.LimitExceeded),
        (
            "INVALID_ARGUMENT",
            "etcdserver: authentication failed, invalid user ID or password",
            errors.AuthenticationFailed,
        ),
        ("INVALID_ARGUMENT", "etcdserver: user name is empty", errors.AuthenticationFailed),
        ("UNAUTHENTICATED", "etcdserver: invalid auth token", errors.AuthenticationFailed),
        ("FAILED_PRECONDITION", "etcdserver: authentication is not enabled", errors.AuthenticationFailed),
        ("PERMISSION_DENIED", "etcdserver: permission denied", errors.PermissionDenied),
        ("UNAVAILABLE", "etcdserver: no leader", errors.Unavailable),
        ("UNAVAILABLE", "etcdserver: rpc not supported for learner", errors.Unavailable),
        ("DATA_LOSS", "etcdserver: corrupt cluster", errors.StoreCorrupted),
        ("UNAVAILABLE", "failed to connect to all addresses; last error: refused", errors.Unavailable),
        ("UNAVAILABLE", "connections to all backends failing; last error: x", errors.Unavailable),
        ("UNIMPLEMENTED", "unknown service", errors.Unsupported),
    ],
)
def test_a_refusal_is_the_same_for_reads_and_writes(
    code: str, details: str, expected: type[errors.TenureError]
) -> None:
    for write in (False, True):
        error = _translated(code, details, write=write)
        assert type(error) is expected
        assert "putting a key" in str(error)


@pytest.mark.parametrize(
    ("code", "details", "read_error"),
    [
        ("DEADLINE_EXCEEDED", "Deadline Exceeded", errors.DeadlineExceeded),
        ("UNAVAILABLE", "Socket closed", errors.Unavailable),
        ("UNAVAILABLE", "recvmsg:Connection reset by peer", errors.Unavailable),
        ("UNAVAILABLE", "ping timeout", errors.Unavailable),
        ("UNAVAILABLE", "etcdserver: leader changed", errors.Unavailable),
        ("UNAVAILABLE", "etcdserver: request timed out", errors.Unavailable),
        ("UNAVAILABLE", "etcdserver: request timed out, possibly due to previous leader failure", errors.Unavailable),
        ("UNAVAILABLE", "etcdserver: server stopped", errors.Unavailable),
        ("CANCELLED", "Channel closed!", errors.Unavailable),
        ("INTERNAL", "stream error", errors.Unavailable),
        ("UNKNOWN", None, errors.Unavailable),
    ],
)
def test_silence_leaves_a_write_in_doubt(code: str, details: str | None, read_error: type[errors.TenureError]) -> None:
    assert type(_translated(code, details, write=False)) is read_error
    doubt = _translated(code, details, write=True)
    assert type(doubt) is errors.OutcomeUnknown
    assert "read before trying again" in str(doubt)


@pytest.mark.parametrize(
    ("details", "advice"),
    [
        ("connections to all backends failing; Connection refused", "is etcd running"),
        ("connections to all backends failing; Ssl handshake failed: WRONG_VERSION_NUMBER", "drop +tls"),
        ("connections to all backends failing; CERTIFICATE_VERIFY_FAILED", "options ca, cert, key"),
        ("connections to all backends failing; Failed parsing HTTP/2", "is the port right"),
        ("Socket closed", "write +tls"),
    ],
)
def test_the_message_names_the_endpoints_and_what_to_check(details: str, advice: str) -> None:
    message = str(_translated("UNAVAILABLE", details, write=False))
    assert advice in message
    assert "h:2379" in message


def test_a_token_is_stale_only_when_etcd_says_so() -> None:
    assert stale_token(Refusal(grpc.StatusCode.UNAUTHENTICATED, "etcdserver: invalid auth token"))
    assert stale_token(Refusal(grpc.StatusCode.INVALID_ARGUMENT, "etcdserver: revision of auth store is old"))
    assert not stale_token(Refusal(grpc.StatusCode.PERMISSION_DENIED, "etcdserver: permission denied"))
    assert not stale_token(Refusal(grpc.StatusCode.UNAVAILABLE, None))
