"""Read entries quickly: the form that registries write is taken apart by one expression, any other by ``decode``.

Nearly every entry has exactly the bytes that ``encode`` and the Go package write, and most of its metadata are those of
other instances. So an entry of that form, in ASCII, without escapes, whose key and JSON agree, needs no JSON parser
beyond its metadata, and equal metadata are parsed and kept once. Whatever differs in the least goes to
:func:`~tenure.registry.model.wire_format.decode`, which alone decides what it means: both give equal instances.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from sys import intern

from tenure.errors import InvalidArgument
from tenure.registry.model.immutable_json import NO_META
from tenure.registry.model.instance import Instance, assemble, valid_port
from tenure.registry.model.wire_format import decode, decode_meta

_TEXT = r'"([^"\\\x00-\x1f]+)"'
_ENTRY = re.compile(
    rf'{{"id":{_TEXT},"host":{_TEXT},"host_name":{_TEXT},"port":([1-9][0-9]{{0,4}}),"service_name":{_TEXT},'
    r'"meta":(null|\{.*\})\}',
    re.DOTALL,
)
_MOST_KEPT = 1_024
_LONGEST_KEPT = 256
"""Characters of metadata that are kept to be compared with those of other entries."""


class EntryReader:
    """Reads the entries of one registry. Not thread-safe: it belongs to the writer of the cache.

    Args:
        prefix: the prefix of the registry's keys.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._metas: dict[str, Mapping[str, object]] = {}

    def read(self, key: str, value: bytes) -> tuple[Instance, bool]:
        """Return the instance that an entry stores, as ``decode`` does, and whether its key is known to agree with it.

        Raises:
            MalformedEntry: the key or the value is not that of an instance.
        """
        found = _ENTRY.fullmatch(value.decode("ascii")) if value.isascii() else None
        if found is not None:
            id_, host, host_name, port, service_name, raw = found.groups()
            if key == f"{self._prefix}{service_name}/{id_}@{host}" and "/" not in id_ and _plain(host):
                meta = NO_META if raw == "null" else self._meta(raw)
                if meta is not None:
                    instance = assemble(
                        id=id_,
                        host=intern(host),
                        host_name=intern(host_name),
                        port=valid_port(int(port)),
                        service_name=intern(service_name),
                        meta=meta,
                    )
                    return instance, True
        return decode(self._prefix, key, value), False

    def _meta(self, raw: str) -> Mapping[str, object] | None:
        """Return the metadata of this text; ``None`` if ``decode`` has to judge the entry."""
        meta = self._metas.get(raw)
        if meta is None:
            try:
                meta = decode_meta(raw)
            except (ValueError, RecursionError, InvalidArgument):
                return None
            if len(raw) <= _LONGEST_KEPT:
                if len(self._metas) >= _MOST_KEPT:
                    self._metas.clear()
                self._metas[raw] = meta
        return meta


def _plain(host: str) -> bool:
    """Whether the key can be split at this host in one way alone."""
    return "/" not in host and "@" not in host
