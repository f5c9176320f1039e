"""What the entry point names: the scheme, its options, and how to open it. Loads no client library."""

from __future__ import annotations

import sys
import threading

from tenure.errors import Unsupported
from tenure.hookspecs import hookimpl
from tenure.spi.backend import Backend
from tenure.spi.diagnosis import Right, Use
from tenure.spi.plugin import BackendPlugin, OpenRequest, Option, UrlForm
from tenure_etcd.caveats import CAVEATS

OPTIONS = (
    Option(
        "keepalive",
        float,
        6.0,
        "seconds of silence after which the server is asked for a sign of life; servers refuse less than 5",
        minimum=5.0,
        maximum=3600.0,
    ),
    Option(
        "keepalive_timeout",
        float,
        2.5,
        "seconds to wait for that sign before the connection counts as dead",
        minimum=0.5,
        maximum=600.0,
    ),
    Option(
        "server_name",
        str,
        None,
        "with TLS: the name to look for in the servers' certificates, where it isn't the host of the URL",
    ),
    Option(
        "max_request_bytes",
        int,
        1_572_864,
        "the servers' `--max-request-bytes`, where it was changed",
        minimum=65_536,
        maximum=1 << 30,
    ),
    Option(
        "max_txn_ops",
        int,
        128,
        "the servers' `--max-txn-ops`, where it was changed",
        minimum=4,
        maximum=1 << 20,
    ),
    Option(
        "min_ttl",
        float,
        2.0,
        "the servers' shortest lease in seconds: one and a half times `--election-timeout`, rounded up",
        minimum=1.0,
        maximum=3600.0,
    ),
)


RIGHTS = (
    Right(Use.OPEN, "a user, if authentication is on"),
    Right(Use.READ, "a role with `read` on the keys of the namespace's prefix; without a namespace on all keys"),
    Right(Use.WATCH, "`read` on the same keys"),
    Right(Use.WRITE, "`readwrite` on the same keys"),
    Right(Use.LEASE, "`readwrite` on the keys that hang on it"),
    Right(Use.LIST_LEASES, "`read` on the keys that hang on them"),
    Right(Use.DIAGNOSE, "the role `root` shows members and alarms"),
)


def _check_interpreter() -> None:
    """Raise ``Unsupported`` in a subinterpreter without threads, where loading gRPC never ends."""
    if "grpc" in sys.modules:
        return
    probe = threading.Thread(target=str, name="tenure-etcd-probe", daemon=True)
    try:
        probe.start()
    except RuntimeError as exc:
        if "subinterpreter" in str(exc):
            raise Unsupported(
                "connecting to etcd: gRPC needs threads, which an isolated subinterpreter doesn't have; connect in the "
                "main interpreter, or use another store"
            ) from exc
    else:
        probe.join()


def open_backend(request: OpenRequest) -> Backend:
    """Connect, check credentials and that a linearizable read is answered; see ``BackendPlugin.open``."""
    _check_interpreter()
    from tenure_etcd.backend import EtcdBackend  # noqa: PLC0415 - loads gRPC, which only an opened store needs

    return EtcdBackend.open(request)


@hookimpl
def tenure_backend() -> BackendPlugin:
    return BackendPlugin(
        scheme="etcd",
        summary="etcd 3.4 and later: shared, durable, linearizable; several endpoints, TLS, users",
        open=open_backend,
        url_form=UrlForm.HOSTS,
        spi_version=1,
        default_port=2379,
        options=OPTIONS,
        caveats=CAVEATS,
        rights=RIGHTS,
        variants=frozenset({"tls"}),
        accepts_credentials=True,
        pip_extra="etcd",
        required_modules=("etcd3", "grpc", "google.protobuf"),
    )
