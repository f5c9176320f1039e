"""The entry point's module: describes the plugin, imports the rest when a store is opened."""

from __future__ import annotations

from tenure.hookspecs import hookimpl
from tenure.spi import Backend, BackendPlugin, OpenRequest, Option, Right, UrlForm, Use
from tenure_postgresql.caveats import CAVEATS

OPTIONS = (
    Option("database", str, None, "name of the database; default: the one named like the user, as PostgreSQL has it"),
    Option("schema", str, "leasehold", "name of the schema that holds the store's tables; one store per schema"),
    Option(
        "history",
        int,
        10_000,
        "revisions kept for watches that resume; of clients that differ the lowest counts",
        minimum=100,
        maximum=10_000_000,
    ),
    Option(
        "poll",
        float,
        0.5,
        "seconds between two looks of a watch at the change log, in case a notification was lost",
        minimum=0.05,
        maximum=60,
    ),
    Option(
        "silence",
        float,
        3.0,
        "seconds without an answer after which a watch counts its server as gone",
        minimum=0.2,
        maximum=3600,
    ),
    Option(
        "connections",
        int,
        8,
        "connections to the server at most, for calls; watches have one more together",
        minimum=1,
        maximum=1000,
    ),
)


def _open(request: OpenRequest) -> Backend:
    from tenure_postgresql.backend import PostgresqlBackend  # noqa: PLC0415 - only who opens a store pays for it

    return PostgresqlBackend.open(request)


_TABLES = "`SELECT`, `INSERT`, `UPDATE` and `DELETE` on its tables"
RIGHTS = (
    Right(Use.OPEN, f"`USAGE` on the schema, {_TABLES}; `CREATE` on the database makes it"),
    Right(Use.READ, "the same as to open"),
    Right(Use.WATCH, "the same as to open"),
    Right(Use.WRITE, "the same as to open"),
    Right(Use.LEASE, "the same as to open"),
    Right(Use.LIST_LEASES, "the same as to open"),
    Right(Use.DIAGNOSE, "`pg_monitor` shows transactions of others"),
)


@hookimpl
def tenure_backend() -> BackendPlugin:
    return BackendPlugin(
        scheme="postgresql",
        summary="PostgreSQL 14 and later: shared, durable; TLS, several hosts",
        open=_open,
        url_form=UrlForm.HOSTS,
        spi_version=1,
        default_port=5432,
        options=OPTIONS,
        variants=frozenset({"tls"}),
        accepts_credentials=True,
        required_modules=("psycopg",),
        caveats=CAVEATS,
        rights=RIGHTS,
    )
