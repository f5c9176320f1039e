"""One instance of a service: who it is, where it listens, what it says about itself. Immutable.

What is left empty is filled in: a random id, this machine's address and host name, port 8000, the service
``default``. Changing means making another one (``copy``, ``with_address``, ``with_metadata``), so the cache can
hand the same object to every caller and every thread.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import cast
from uuid import uuid4

from tenure.errors import InvalidArgument
from tenure.registry.model.address import default_host
from tenure.registry.model.immutable_json import NO_META, freeze_meta, thaw
from tenure.spi.keys import check_text

DEFAULT_SERVICE = "default"
DEFAULT_PORT = 8000
_PORTS = 65536
STATUS_KEY = "status"


class InstanceStatus(StrEnum):
    """Whether an instance wants new work. Kept under ``status`` in ``meta``, so that other programs can read it."""

    READY = "ready"
    """Take it. An instance that says nothing is ready."""

    DRAINING = "draining"
    """It finishes what it has and will go: send it nothing new."""


@dataclass(frozen=True, slots=True, init=False)
class Instance:
    """An instance. Two are equal if all fields are; ``identity`` names one over its changes.

    ``meta`` takes what JSON can express and is read-only all the way down: mappings, and lists as tuples.
    Raises ``InvalidArgument`` for a field that the key or JSON can't carry, and for a port that isn't one. An entry
    that another program wrote with such a port is read with port 8000, as by the Go package.
    """

    id: str
    host: str
    host_name: str
    port: int
    service_name: str
    meta: Mapping[str, object]

    def __init__(
        self,
        service_name: str = DEFAULT_SERVICE,
        *,
        id: str = "",  # noqa: A002 - the field's name on the wire
        host: str = "",
        host_name: str = "",
        port: int | None = None,
        meta: Mapping[str, object] | None = None,
    ) -> None:
        _check(service_name, "service_name", "")
        _check(id, "id", "/")
        _check(host, "host", "/@")
        _check(host_name, "host_name", "")
        if port is not None and (not isinstance(port, int) or isinstance(port, bool) or not 0 < port < _PORTS):
            raise InvalidArgument(
                f"a port is a whole number from 1 to {_PORTS - 1}, or left out for 8000, not {port!r}"
            )
        _fill(
            self,
            id or str(uuid4()),
            host or default_host(),
            host_name or socket.gethostname(),
            DEFAULT_PORT if port is None else port,
            service_name or DEFAULT_SERVICE,
            freeze_meta(meta),
        )

    def identity(self, separator: str = "/") -> str:
        """``service_name``, ``separator``, ``id@host``: what makes it the same instance over changes."""
        return f"{self.service_name}{separator}{self.id}@{self.host}"

    @property
    def address(self) -> str:
        """``host:port``, with an IPv6 host in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def status(self) -> str:
        """What ``meta`` says under ``status``, ``ready`` if nothing. Others may use words of their own."""
        return str(self.meta.get(STATUS_KEY) or InstanceStatus.READY)

    @property
    def ready(self) -> bool:
        """Whether new work may be sent to it: its status is ``ready``."""
        return self.status == InstanceStatus.READY

    def copy(
        self,
        *,
        service_name: str | None = None,
        id: str | None = None,  # noqa: A002 - the field's name on the wire
        host: str | None = None,
        host_name: str | None = None,
        port: int | None = None,
        meta: Mapping[str, object] | None = None,
    ) -> Instance:
        """A new instance like this one but for what is given."""
        return Instance(
            self.service_name if service_name is None else service_name,
            id=self.id if id is None else id,
            host=self.host if host is None else host,
            host_name=self.host_name if host_name is None else host_name,
            port=self.port if port is None else port,
            meta=self.meta if meta is None else meta,
        )

    def with_address(self, host: str, port: int | None = None) -> Instance:
        """A copy at another address. The host is part of the identity, the port isn't."""
        return self.copy(host=host, port=port)

    def with_metadata(self, meta: Mapping[str, object]) -> Instance:
        """A copy with ``meta`` in place of its own; to keep some, give ``{**instance.meta, ...}``."""
        return self.copy(meta=meta)

    def with_status(self, status: InstanceStatus | str) -> Instance:
        """A copy with this status in its ``meta``; ``ready`` is said by leaving it out."""
        meta = {key: value for key, value in self.meta.items() if key != STATUS_KEY}
        if status != InstanceStatus.READY:
            meta[STATUS_KEY] = str(status)
        return self.copy(meta=meta or NO_META)

    def to_dict(self) -> dict[str, object]:
        """Plain, changeable data in the order of the wire format; ``meta`` is ``None`` if it was never given."""
        return {
            "id": self.id,
            "host": self.host,
            "host_name": self.host_name,
            "port": self.port,
            "service_name": self.service_name,
            "meta": None if self.meta is NO_META else thaw(self.meta),
        }

    def __hash__(self) -> int:
        return hash((self.service_name, self.id, self.host, self.port))

    def __reduce__(self) -> tuple[object, ...]:
        # Read-only mappings can't be pickled: take them apart and put them together again.
        meta = None if self.meta is NO_META else thaw(self.meta)
        return (_rebuilt, (self.id, self.host, self.host_name, self.port, self.service_name, meta))


_FIELDS = ("id", "host", "host_name", "port", "service_name", "meta")


def assemble(
    *,
    id: str,  # noqa: A002 - the field's name on the wire
    host: str,
    host_name: str,
    port: int,
    service_name: str,
    meta: Mapping[str, object],
) -> Instance:
    """An instance of exactly these values, for what was read from a store: nothing is filled in or checked."""
    instance = object.__new__(Instance)
    _fill(instance, id, host, host_name, port, service_name, meta)
    return instance


def valid_port(port: int | None) -> int:
    """``port``, or 8000 where it is missing or no port."""
    return port if port is not None and 0 < port < _PORTS else DEFAULT_PORT


def _fill(instance: Instance, *values: object) -> None:
    for name, value in zip(_FIELDS, values, strict=True):
        object.__setattr__(instance, name, value)


def _rebuilt(*values: object) -> Instance:
    *others, meta = values
    instance = object.__new__(Instance)
    _fill(instance, *others, freeze_meta(cast("Mapping[str, object] | None", meta)))
    return instance


def _check(value: object, name: str, forbidden: str) -> None:
    if not isinstance(value, str):
        raise InvalidArgument(f"an instance's {name} is text, not {type(value).__name__}: {value!r}")
    check_text(value, name)
    for character in forbidden:
        if character in value:
            raise InvalidArgument(f"an instance's {name} can't contain {character!r}, which separates it: {value!r}")
