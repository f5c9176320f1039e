"""The entry point's module: describes the plugin, imports the rest when a store is opened."""

from __future__ import annotations

from tenure.hookspecs import hookimpl
from tenure.spi import Backend, BackendPlugin, OpenRequest, Option, Right, UrlForm, Use
from tenure_sqlite.caveats import CAVEATS


def _open(request: OpenRequest) -> Backend:
    from tenure_sqlite.backend import open_backend  # noqa: PLC0415 - only who opens a store pays for it

    return open_backend(request)


RIGHTS = (
    Right(Use.OPEN, "read and write the file, its `-wal` and `-shm`, and write in their folder"),
    Right(Use.READ, "the same files as to open: readers write to the `-shm`"),
    Right(Use.WATCH, "the same files as to open"),
    Right(Use.WRITE, "the same files as to open"),
    Right(Use.LEASE, "the same files as to open"),
    Right(Use.LIST_LEASES, "the same files as to open"),
    Right(Use.DIAGNOSE, "nothing more"),
)


@hookimpl
def tenure_backend() -> BackendPlugin:
    return BackendPlugin(
        scheme="sqlite",
        summary="a file on the local disk, shared by all processes of the machine; needs no server",
        open=_open,
        url_form=UrlForm.FILE,
        spi_version=1,
        options=(
            Option(
                "history",
                int,
                10_000,
                "revisions that a watch can resume from; fewer where they fill more than 64 MiB",
                minimum=1,
                maximum=10_000_000,
            ),
            Option(
                "poll",
                float,
                0.015,
                "seconds between looks for what other processes wrote, while something is watched and the system "
                "reports no writes; Linux does",
                minimum=0.001,
                maximum=10.0,
            ),
            Option(
                "synchronous",
                str,
                "normal",
                "full: a write has reached the disk when it is acknowledged, so it survives a loss of power; "
                "normal: it survives the death of processes, the last ones may not survive a loss of power",
                choices=("full", "normal"),
            ),
        ),
        caveats=CAVEATS,
        rights=RIGHTS,
    )


def default_url() -> str:
    """The store of whoever gives no URL: a file in the user's state folder."""
    return "sqlite://"
