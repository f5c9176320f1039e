"""The entry point's module: describes the plugin, imports the rest when a store is opened."""

from __future__ import annotations

from tenure.hookspecs import hookimpl
from tenure.spi import Backend, BackendPlugin, OpenRequest, Option, UrlForm
from tenure_jsonfile.caveats import CAVEATS


def _open(request: OpenRequest) -> Backend:
    from tenure_jsonfile.backend import JsonFileBackend  # noqa: PLC0415 - only who opens a store pays for it

    return JsonFileBackend(request)


@hookimpl
def tenure_backend() -> BackendPlugin:
    return BackendPlugin(
        scheme="jsonfile",
        summary="one JSON file on a local disk, for a few hundred keys that people like to read",
        open=_open,
        url_form=UrlForm.FILE,
        spi_version=1,
        options=(Option("poll", float, 0.2, "seconds between two looks of a watch", minimum=0.01, maximum=60),),
        caveats=CAVEATS,
    )
