"""The outsider's plugin. ``LEDGER`` names the version: the right one, unless a trial asks for another."""

from __future__ import annotations

import os

from tenure.hookspecs import hookimpl
from tenure.spi import Backend, BackendPlugin, OpenRequest, UrlForm

VERSION = "LEDGER"


def _open(request: OpenRequest) -> Backend:
    from .broken import ALL

    backend: Backend = ALL[os.environ.get(VERSION, "Ledger")](request.path, timeout=request.timeout)
    return backend


@hookimpl
def tenure_backend() -> BackendPlugin:
    return BackendPlugin(
        scheme="ledger", summary="an SQLite file, by an outsider", open=_open, url_form=UrlForm.FILE, spi_version=1
    )
