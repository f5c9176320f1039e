"""What the entry point names: the scheme, its options, and how to open it. Loads no client library."""

from __future__ import annotations

from tenure.hookspecs import hookimpl
from tenure.spi.backend import Backend
from tenure.spi.diagnosis import Right, Use
from tenure.spi.plugin import BackendPlugin, OpenRequest, Option, UrlForm
from tenure_redis.caveats import CAVEATS

OPTIONS = (
    Option("store", str, "leasehold", "name of the store inside Redis: its keys are {NAME}:data and so on"),
    Option("db", int, 0, "number of the database inside Redis", minimum=0, maximum=1 << 20),
    Option("master", str, None, "with redis+sentinel: the name under which the Sentinels know the primary"),
    Option("sentinel_user", str, None, "with redis+sentinel: user name for the Sentinels, where it needs one"),
    Option(
        "sentinel_password", str, None, "with redis+sentinel: password for the Sentinels, if they want one", secret=True
    ),
    Option(
        "history",
        int,
        10_000,
        "revisions kept for watches that resume, fewer where they fill more than 64 MiB; they hold the values "
        "written, so they take memory, and of clients that differ the lowest counts",
        minimum=100,
        maximum=100_000_000,
    ),
    Option(
        "silence",
        float,
        3.0,
        "seconds without an answer after which a watch counts its server as gone",
        minimum=0.2,
        maximum=3600.0,
    ),
)


RIGHTS = (
    Right(
        Use.OPEN,
        "every command that the page on stores lists, on the keys `{NAME}:*`",
    ),
    Right(Use.READ, "the same commands as to open"),
    Right(Use.WATCH, "the same commands as to open"),
    Right(Use.WRITE, "the same commands as to open"),
    Right(Use.LEASE, "the same commands as to open"),
    Right(Use.LIST_LEASES, "the same commands as to open"),
    Right(Use.DIAGNOSE, "`+role`, `+info` and `+config|get`; `+memory|usage` for the size of the history"),
)


def open_backend(request: OpenRequest) -> Backend:
    """Connect, log in, and see that this user may do what is needed; see ``BackendPlugin.open``."""
    from tenure_redis.backend import RedisBackend  # noqa: PLC0415 - loads redis, which only an opened store needs

    return RedisBackend.open(request)


@hookimpl
def tenure_backend() -> BackendPlugin:
    return BackendPlugin(
        scheme="redis",
        summary="Redis 7 and later: shared, fast; TLS, users, unix sockets, Sentinel, Cluster",
        open=open_backend,
        url_form=UrlForm.HOSTS,
        spi_version=1,
        default_port=6379,
        options=OPTIONS,
        caveats=CAVEATS,
        rights=RIGHTS,
        variants=frozenset({"tls", "unix", "sentinel", "cluster"}),
        accepts_credentials=True,
        pip_extra="redis",
        required_modules=("redis", "hiredis"),
    )
