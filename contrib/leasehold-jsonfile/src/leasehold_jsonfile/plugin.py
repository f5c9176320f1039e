"""The entry point's module: describes the plugin, imports the rest when a store is opened."""

from __future__ import annotations

from leasehold.hookspecs import hookimpl
from leasehold.spi import Address, Backend, BackendPlugin, OpenRequest, Option


def _open(request: OpenRequest) -> Backend:
    from leasehold_jsonfile.backend import JsonFileBackend  # noqa: PLC0415 - only who opens a store pays for it

    return JsonFileBackend(request)


@hookimpl
def leasehold_backend() -> BackendPlugin:
    return BackendPlugin(
        scheme="jsonfile",
        summary="one JSON file on a local disk, for a few hundred keys that people like to read",
        open=_open,
        address=Address.FILE,
        options=(Option("poll", float, 0.2, "seconds between two looks of a watch", minimum=0.01, maximum=60),),
    )
