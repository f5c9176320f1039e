"""What the entry point names: the scheme, its options, and how to open it. Loads no client library."""

from __future__ import annotations

from tenure.hookspecs import hookimpl
from tenure.spi.backend import Backend
from tenure.spi.diagnosis import Right, Use
from tenure.spi.plugin import BackendPlugin, OpenRequest, Option, UrlForm
from tenure_zookeeper.caveats import CAVEATS

OPTIONS = (
    Option(
        "session_timeout",
        float,
        6.0,
        "seconds after which a silent server is given up, within what the server allows; not the time of leases",
        minimum=0.5,
        maximum=600.0,
    ),
    Option(
        "max_packet_bytes",
        int,
        1_048_575,
        "the servers' jute.maxbuffer, where it was changed: a larger packet makes them close the connection",
        minimum=65_536,
        maximum=1 << 30,
    ),
    Option(
        "acl",
        str,
        "open",
        "who may use what is written: everyone (open), only the user of the URL (creator), or that user while "
        "everyone may read (read)",
        choices=("open", "creator", "read"),
    ),
    Option(
        "auth",
        str,
        "digest",
        "how the servers learn the user of the URL: sent as it is (digest), or by a SASL login with DIGEST-MD5, "
        "for which they have a list of users (sasl)",
        choices=("digest", "sasl"),
    ),
    Option(
        "reads",
        str,
        "quorum",
        "on several servers, what goes before a read: a write that changes nothing, so that no acknowledged write is "
        "missed (quorum), or a sync, which is cheaper and may miss some (sync)",
        choices=("quorum", "sync"),
    ),
)


RIGHTS = (
    Right(Use.OPEN, "`r` on the namespace's folder; `c` on the root makes the folder"),
    Right(Use.READ, "`r` on the folder and the nodes below"),
    Right(Use.WATCH, "`r` on the same nodes"),
    Right(Use.WRITE, "`c`, `w` and `d` on the same nodes"),
    Right(Use.LEASE, "`c`, `w` and `d` on the same nodes"),
    Right(Use.LIST_LEASES, "`r` on the same nodes"),
    Right(Use.DIAGNOSE, "`srvr` and `conf` in `4lw.commands.whitelist`"),
)


def open_backend(request: OpenRequest) -> Backend:
    """Connect and see a read answered; see ``BackendPlugin.open``."""
    from tenure_zookeeper.backend import ZooKeeperBackend  # noqa: PLC0415 - loads kazoo, which only an opened store needs

    return ZooKeeperBackend.open(request)


@hookimpl
def tenure_backend() -> BackendPlugin:
    return BackendPlugin(
        scheme="zookeeper",
        summary="ZooKeeper 3.6 and later (3.4 by polling): shared, durable; several hosts, TLS, users",
        open=open_backend,
        url_form=UrlForm.HOSTS,
        spi_version=1,
        default_port=2181,
        options=OPTIONS,
        caveats=CAVEATS,
        rights=RIGHTS,
        variants=frozenset({"tls"}),
        accepts_credentials=True,
        pip_extra="zookeeper",
        required_modules=("kazoo",),
    )
