"""One instance of a service: its identity, its address and its metadata. Immutable.

Empty fields are filled in: a random id, this machine's address and host name, port 8000, the service ``default``. To
change an instance, make another one (``copy``, ``with_address``, ``with_metadata``). So the cache can return the same
object to every caller and thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import cast

from tenure.errors import InvalidArgument
from tenure.registry.model.immutable_json import NO_META, freeze_meta, shown, thaw
from tenure.registry.model.traits import MOST_WEIGHT, WEIGHT_KEY, is_weight, weight_of, zone_of
from tenure.spi.keys import check_text

DEFAULT_SERVICE = "default"
DEFAULT_PORT = 8000
_PORTS = 65536
STATUS_KEY = "status"


class InstanceStatus(StrEnum):
    """State whether an instance accepts new work. ``meta`` has it under ``status``, so other programs can read it.

    Attributes:
        READY: it accepts new work. An instance without a status is ready.
        DRAINING: it finishes its work and will leave; send it nothing new.
    """

    READY = "ready"
    DRAINING = "draining"


@dataclass(frozen=True, slots=True, init=False)
class Instance:
    """An instance of a service. Immutable.

    Two instances are equal if all their fields are. ``identity`` stays the same when an instance changes. An entry
    that another program wrote with a port out of range is read with port 8000, as by the Go package.

    >>> instance = Instance("web", id="1", host="10.0.0.1", port=8080, meta={"zone": "a"})
    >>> instance.identity(), instance.address, instance.ready
    ('web/1@10.0.0.1', '10.0.0.1:8080', True)

    Args:
        service_name: the service; default: ``default``.
        id: the instance's id, unique in its service on its host; default: a random UUID.
        host: where clients reach it; default: this machine's first IPv4 address that isn't the loopback, or its name.
        host_name: the machine's name; default: this machine's.
        port: 1 to 65535; default: 8000.
        meta: what JSON can express: text, numbers, booleans, ``None``, lists and mappings with text as keys.

    Attributes:
        id: the instance's id.
        host: where clients reach it.
        host_name: the machine's name.
        port: the port at ``host``.
        service_name: the service.
        meta: the metadata, read-only at every level: mappings, and lists as tuples.

    Raises:
        InvalidArgument: a field is of the wrong type, has a character that the key can't contain, or can't be expressed
            in JSON. Or ``port`` is out of range.
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
                f"making an instance: a port is a whole number from 1 to {_PORTS - 1}, or left out for 8000, "
                f"not {port!r}"
            )
        _fill(
            self,
            id or _random_id(),
            host or _own_host(),
            host_name or _own_host_name(),
            DEFAULT_PORT if port is None else port,
            service_name or DEFAULT_SERVICE,
            freeze_meta(meta),
        )

    def identity(self, separator: str = "/") -> str:
        """Return ``service_name``, ``separator`` and ``id@host``, which stay the same when the instance changes.

        Args:
            separator: the text after the service name.

        Returns:
            The text, such as ``web/1@10.0.0.1``.
        """
        return f"{self.service_name}{separator}{self.id}@{self.host}"

    @property
    def address(self) -> str:
        """``host:port``, with an IPv6 host in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def status(self) -> str:
        """The text under ``status`` in ``meta``; ``ready`` if there is none. Other programs may use other words."""
        found = self.meta.get(STATUS_KEY) or InstanceStatus.READY
        return str(found) if isinstance(found, str) else shown(found)

    @property
    def ready(self) -> bool:
        """Whether it accepts new work: its status is ``ready``."""
        return self.status == InstanceStatus.READY

    @property
    def zone(self) -> str:
        """The text under ``zone`` in ``meta``, such as a data center's name; empty if there is none."""
        return zone_of(self.meta)

    @property
    def weight(self) -> float:
        """The number under ``weight`` in ``meta``, to a thousandth and at most 1,000,000; 1.0 if there is none."""
        return weight_of(self.meta)

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
        """Return an instance like this one, with the given fields replaced.

        Args:
            service_name: the service; ``None`` keeps it, here and below.
            id: the instance's id.
            host: where clients reach it.
            host_name: the machine's name.
            port: the port.
            meta: the metadata.

        Returns:
            A new instance. This one doesn't change.

        Raises:
            InvalidArgument: as for a new instance.
        """
        return Instance(
            self.service_name if service_name is None else service_name,
            id=self.id if id is None else id,
            host=self.host if host is None else host,
            host_name=self.host_name if host_name is None else host_name,
            port=self.port if port is None else port,
            meta=self.meta if meta is None else meta,
        )

    def with_address(self, host: str, port: int | None = None) -> Instance:
        """Return a copy at another address. The host is part of the identity, the port is not.

        Args:
            host: where clients reach it.
            port: the port; ``None`` keeps it.

        Returns:
            A new instance. This one doesn't change.

        Raises:
            InvalidArgument: as for a new instance.
        """
        return self.copy(host=host, port=port)

    def with_metadata(self, meta: Mapping[str, object]) -> Instance:
        """Return a copy with other metadata. To keep some, pass ``{**instance.meta, ...}``.

        Args:
            meta: the metadata, in place of the instance's own.

        Returns:
            A new instance. This one doesn't change.

        Raises:
            InvalidArgument: as for a new instance.
        """
        return self.copy(meta=meta)

    def with_status(self, status: InstanceStatus | str) -> Instance:
        """Return a copy with this status in its ``meta``.

        Args:
            status: the status; ``ready`` is expressed by leaving it out.

        Returns:
            A new instance. This one doesn't change.

        Raises:
            InvalidArgument: ``status`` has a lone surrogate, so it isn't valid text.
        """
        meta = {key: value for key, value in self.meta.items() if key != STATUS_KEY}
        if status != InstanceStatus.READY:
            meta[STATUS_KEY] = str(status)
        return self.copy(meta=meta or NO_META)

    def with_weight(self, weight: float) -> Instance:
        """Return a copy with this weight in its ``meta``: its part of the work, compared with other instances.

        Args:
            weight: 0 to 1,000,000, in steps of a thousandth. One of weight 0 is a standby: it gets work if no other
                instance is left.

        Returns:
            A new instance. This one doesn't change.

        Raises:
            InvalidArgument: ``weight`` is not such a number.
        """
        if not is_weight(weight) or weight > MOST_WEIGHT:
            raise InvalidArgument(
                f"making an instance: a weight is a number from 0 to {MOST_WEIGHT}, not {weight!r:.80}; leave it out "
                "for 1"
            )
        return self.copy(meta={**self.meta, WEIGHT_KEY: weight})

    def to_dict(self) -> dict[str, object]:
        """Return the fields as plain, mutable data, in the order of the wire format.

        Returns:
            A dictionary of the six fields; ``meta`` is ``None`` if it was never given.
        """
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
        # Read-only mappings can't be pickled, so pickle plain data and rebuild them.
        meta = None if self.meta is NO_META else thaw(self.meta)
        return (_rebuilt, (self.id, self.host, self.host_name, self.port, self.service_name, meta))


_FIELDS = ("id", "host", "host_name", "port", "service_name", "meta")
# The slots themselves: a frozen class refuses plain assignments, and the way around them costs five times as much.
_set_id, _set_host, _set_host_name, _set_port, _set_service_name, _set_meta = (
    Instance.__dict__[name].__set__ for name in _FIELDS
)


def assemble(
    *,
    id: str,  # noqa: A002 - the field's name on the wire
    host: str,
    host_name: str,
    port: int,
    service_name: str,
    meta: Mapping[str, object],
) -> Instance:
    """Return an instance of exactly these values, for an entry of a store: nothing is filled in or checked."""
    instance = object.__new__(Instance)
    _set_id(instance, id)
    _set_host(instance, host)
    _set_host_name(instance, host_name)
    _set_port(instance, port)
    _set_service_name(instance, service_name)
    _set_meta(instance, meta)
    return instance


# An observer makes no instance of its own: these are imported by those who do.


def _random_id() -> str:
    from uuid import uuid4  # noqa: PLC0415 - see above

    return str(uuid4())


def _own_host() -> str:
    from tenure.registry.model.address import default_host  # noqa: PLC0415 - see above

    return default_host()


def _own_host_name() -> str:
    import socket  # noqa: PLC0415 - see above

    return socket.gethostname()


def valid_port(port: int | None) -> int:
    """Return ``port``, or 8000 if it is missing or out of range."""
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
        raise InvalidArgument(f"making an instance: {name} is text, not {type(value).__name__}: {value!r}")
    check_text(value, name)
    for character in forbidden:
        if character in value:
            raise InvalidArgument(
                f"making an instance: {name} can't contain {character!r}, a separator in the key: {value!r}"
            )
