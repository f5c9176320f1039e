"""Mutants that are reached over a network: the toy store behind TCP, its server or its client broken.

Some rules start clients in processes of their own. Those find the mutant as they would find any plugin, by an entry
point: a folder on their path says that the scheme is served by ``mutants.subprocess_plugin``.
"""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from tenure.conformance import ServerControls
from tenure.spi import Backend, BackendPlugin, Capabilities, OpenRequest, UrlForm
from tenure_testkit.tcp import TcpBackend, TcpServer

from .base import Breakable

MUTANT = "TENURE_MUTANT"
"""Name of the environment variable that tells other processes which mutant is meant."""

_METADATA = "Metadata-Version: 2.1\nName: tenure-mutants\nVersion: 0\n"


class Networked(Breakable, TcpBackend):
    """Breaks nothing: the toy store as it is."""

    server_type: ClassVar[type[TcpServer]] = TcpServer

    @property
    def capabilities(self) -> Capabilities:
        return dataclasses.replace(super().capabilities, **self.declares)

    @classmethod
    def controls(cls, server: TcpServer) -> ServerControls:
        """Controls over the server."""
        return server.controls

    @classmethod
    def plugin(cls, scheme: str) -> BackendPlugin:
        def open_mutant(request: OpenRequest) -> Backend:
            return cls(request.hosts[0], timeout=request.timeout)

        return BackendPlugin(
            scheme=scheme, summary="broken", open=open_mutant, url_form=UrlForm.HOSTS, spi_version=1, default_port=1
        )

    @classmethod
    @contextmanager
    def served(cls, scheme: str) -> Iterator[tuple[str, ServerControls]]:
        server = cls.server_type(scheme)
        try:
            with tempfile.TemporaryDirectory() as folder:
                cls._found_by_others(scheme, Path(folder))
                yield f"127.0.0.1:{server.port}", cls.controls(server)
        finally:
            server.close()

    @classmethod
    def _found_by_others(cls, scheme: str, folder: Path) -> None:
        information = folder / "tenure_mutants-0.dist-info"
        information.mkdir()
        (information / "METADATA").write_text(_METADATA)
        (information / "entry_points.txt").write_text(f"[tenure.backends]\n{scheme} = mutants.subprocess_plugin\n")
        here = Path(__file__).resolve().parent.parent
        known = os.environ.get("PYTHONPATH", "")
        os.environ["PYTHONPATH"] = os.pathsep.join([str(folder), str(here), str(here.parent / "support"), known])
        os.environ[MUTANT] = cls.__name__
