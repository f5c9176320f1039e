"""What the entry point names: the scheme, its options, and how to open it. Loads no client library."""

from __future__ import annotations

from tenure.hookspecs import hookimpl
from tenure.spi.backend import Backend
from tenure.spi.diagnosis import Right, Use
from tenure.spi.plugin import BackendPlugin, OpenRequest, Option, UrlForm
from tenure_consul.caveats import CAVEATS

OPTIONS = (
    Option("root", str, "leasehold", "where in Consul's key space the store is: its keys begin with ROOT/kv/"),
    Option("token", str, None, "ACL token (also: the URL's password, as in consul://:TOKEN@host)", secret=True),
    Option("dc", str, None, "datacenter whose keys and sessions are meant; default: the agent's own"),
    Option(
        "consistency",
        str,
        "consistent",
        "how reads are answered: consistent asks a majority, default trusts the leader's lease, stale any server",
        choices=("consistent", "default", "stale"),
    ),
    Option(
        "wait",
        float,
        4.0,
        "seconds that one long poll of a watch lasts; an agent silent for a little longer counts as gone",
        minimum=1.0,
        maximum=600.0,
    ),
    Option(
        "watches",
        int,
        100,
        "different prefixes watched at once, each over a connection of its own; an agent takes 200 from one address "
        "(its http_max_conns_per_client), those of other processes and of calls among them",
        minimum=1,
        maximum=100_000,
    ),
)


RIGHTS = (
    Right(Use.OPEN, "`key_prefix` read below the option `root`"),
    Right(Use.READ, "`key_prefix` read"),
    Right(Use.WATCH, "`key_prefix` read"),
    Right(Use.WRITE, "`key_prefix` write"),
    Right(Use.LEASE, "`session_prefix` write, `key_prefix` write"),
    Right(Use.LIST_LEASES, "`session_prefix` read"),
    Right(Use.DIAGNOSE, "`agent_prefix` read"),
)


def open_backend(request: OpenRequest) -> Backend:
    """Connect, see that the agent has a leader and accepts the token; see ``BackendPlugin.open``."""
    from tenure_consul.backend import ConsulBackend  # noqa: PLC0415 - only an opened store needs it

    return ConsulBackend.open(request)


@hookimpl
def tenure_backend() -> BackendPlugin:
    return BackendPlugin(
        scheme="consul",
        summary="Consul 1.7 and later: shared, durable; several agents, TLS, ACL tokens, datacenters",
        open=open_backend,
        url_form=UrlForm.HOSTS,
        spi_version=1,
        default_port=8500,
        options=OPTIONS,
        caveats=CAVEATS,
        rights=RIGHTS,
        variants=frozenset({"tls"}),
        accepts_credentials=True,
        pip_extra="consul",
        required_modules=("consul",),
    )
