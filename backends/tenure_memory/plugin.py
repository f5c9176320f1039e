"""The entry point's module: describes the plugin, imports the rest when a store is opened."""

from __future__ import annotations

from tenure.hookspecs import hookimpl
from tenure.spi import Backend, BackendPlugin, OpenRequest, Option, UrlForm
from tenure_memory.caveats import CAVEATS


def _open(request: OpenRequest) -> Backend:
    from tenure_memory.servers import open_backend  # noqa: PLC0415 - only who opens a store pays for it

    return open_backend(request)


@hookimpl
def tenure_backend() -> BackendPlugin:
    return BackendPlugin(
        scheme="memory",
        summary="inside this process, for tests and trials; shared by name, gone when the process ends",
        open=_open,
        url_form=UrlForm.NAME,
        spi_version=1,
        options=(
            Option(
                "history",
                int,
                None,
                "revisions that a watch can resume from and a paged list can stay at (10000, "
                "fewer where they fill more than 64 MiB); "
                "the first opener of the name decides",
                minimum=1,
            ),
        ),
        caveats=CAVEATS,
        private=lambda request: not request.path,
    )
