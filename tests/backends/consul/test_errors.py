"""What Consul says of itself, in Tenure's terms."""

from __future__ import annotations

import pytest

from tenure import errors
from tenure_consul.errors import refused

DISK = "write /var/lib/consul/raft/raft.db: no space left on device"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (DISK, errors.StoreFull),
        (f"rpc error making call: {DISK}", errors.StoreFull),
        # Not surely before it was in the log.
        ("fdatasync: no space left on device", errors.OutcomeUnknown),
        ("leadership lost while committing log", errors.OutcomeUnknown),
        ("No cluster leader", errors.Unavailable),
        ("Permission denied", errors.PermissionDenied),
        ("ACL not found", errors.AuthenticationFailed),
    ],
)
def test_a_refused_write(said: str, expected: type[errors.TenureError]) -> None:
    error = refused(500, said.encode(), action="committing", where="127.0.0.1:8500", write=True)
    assert type(error) is expected
    assert said in str(error)
