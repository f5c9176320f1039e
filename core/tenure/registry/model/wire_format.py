"""Entries on the wire: the keys and the JSON of the Go package `registry` (gocomponents v0.3), byte for byte.

Writing follows ``json.Marshal`` of the Go struct: fields in its order, no spaces, map keys sorted by their bytes, text
as UTF-8. ``< > &``, U+2028 and U+2029 are escaped as Go escapes them for HTML. Numbers are formatted as in Go: a whole
float has no fraction, and exponents begin at 1e21 and below 1e-6.

Reading is lenient, since other programs write entries: fields may be missing, numbers may be whole floats, and unknown
fields are ignored. An entry that can't be an instance raises :class:`MalformedEntry`.

The key is ``<prefix><service_name>/<id>@<host>``. If key and JSON disagree, the JSON defines the instance, as for the
Go package. The key identifies the entry, so its delete always finds it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from sys import intern
from typing import NoReturn

from tenure.errors import InvalidArgument, MalformedEntry
from tenure.registry.model.immutable_json import NO_META, freeze_stored_meta, shown, without_surrogates
from tenure.registry.model.instance import Instance, assemble, valid_port

_UNSAFE = re.compile("[<>&\u2028\u2029]")
_STRUCTURE = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{}]', re.DOTALL)
"""Text, which is skipped, or a bracket. Text may lack its end: otherwise it would be tried again at each quote."""
_DEEPEST = 128
_LONGEST_NUMBER = 310


# -- keys ------------------------------------------------------------------------------------------


def key_of(prefix: str, instance: Instance) -> str:
    """Return the key of an instance's entry.

    >>> key_of("/registry/prod/", Instance("web", id="1", host="10.0.0.1"))
    '/registry/prod/web/1@10.0.0.1'

    Args:
        prefix: the prefix of the registry's keys, :attr:`RegistryConfig.key_prefix`.
        instance: the instance.

    Returns:
        The key: the prefix and the instance's identity.
    """
    return prefix + instance.identity()


def split_key(prefix: str, key: str) -> tuple[str, str, str]:
    """Return the service name, id and host in ``key``. Raises ``MalformedEntry``."""
    service_name, slash, rest = key[len(prefix) :].rpartition("/")
    id_, at, host = rest.rpartition("@")
    if not slash or not at or not service_name or not id_ or not host:
        raise MalformedEntry(f"reading an entry: the key {shown(key)} isn't {prefix}<service>/<id>@<host>")
    return service_name, id_, host


# -- writing ---------------------------------------------------------------------------------------


def encode(instance: Instance) -> bytes:
    """Return the value of an instance's entry: JSON, byte for byte as the Go package writes it.

    >>> encode(Instance("web", id="1", host="10.0.0.1", host_name="node", port=80))
    b'{"id":"1","host":"10.0.0.1","host_name":"node","port":80,"service_name":"web","meta":null}'

    Args:
        instance: the instance.

    Returns:
        The value, in UTF-8.
    """
    fields = ",".join(f'"{name}":{_json(value)}' for name, value in instance.to_dict().items())
    return _UNSAFE.sub(_escape, f"{{{fields}}}").encode()


def _escape(match: re.Match[str]) -> str:
    # These characters only occur inside text, so escaping the finished JSON is the same as escaping the text.
    return f"\\u{ord(match[0]):04x}"


def _json(value: object) -> str:
    if isinstance(value, dict):
        # Code points sort as their UTF-8 does.
        return "{" + ",".join(f"{_json(key)}:{_json(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_json, value)) + "]"
    if isinstance(value, float):
        return _go_float(value)
    return json.dumps(value, ensure_ascii=False)


def _go_float(value: float) -> str:
    if value == 0:
        return "-0" if str(value).startswith("-") else "0"
    digits = repr(value)  # the shortest text that reads back the same, as in Go
    if 1e-6 <= abs(value) < 1e21:
        return _plain(digits)
    mantissa, _, exponent = digits.partition("e")
    sign, magnitude = exponent[0], exponent[1:].lstrip("0")
    return f"{mantissa.removesuffix('.0')}e{sign}{magnitude}"


def _plain(digits: str) -> str:
    """Return ``digits`` without an exponent and without an empty fraction."""
    sign = "-" if digits.startswith("-") else ""
    mantissa, _, exponent = digits.lstrip("-").partition("e")
    whole, _, fraction = mantissa.partition(".")
    point = len(whole) + int(exponent or 0)
    figures = (whole + fraction).rstrip("0") if exponent or fraction.strip("0") == "" else whole + fraction
    if point <= 0:
        return f"{sign}0.{'0' * -point}{figures}"
    if len(figures) <= point:
        return f"{sign}{figures}{'0' * (point - len(figures))}"
    return f"{sign}{figures[:point]}.{figures[point:]}"


# -- reading ---------------------------------------------------------------------------------------


def decode(prefix: str, key: str, value: bytes) -> Instance:
    """Return the instance that an entry stores.

    Fields that the JSON lacks come from the key; a missing port is 8000.

    >>> decode("/registry/prod/", "/registry/prod/web/1@10.0.0.1", b'{"port": 80}').identity()
    'web/1@10.0.0.1'

    Args:
        prefix: the prefix of the registry's keys, :attr:`RegistryConfig.key_prefix`.
        key: the entry's key.
        value: the entry's value.

    Returns:
        The instance.

    Raises:
        MalformedEntry: the key or the value is not that of an instance.
    """
    service_name, id_, host = split_key(prefix, key)
    fields = _object(key, value)
    host = _text(key, fields, "host") or host
    return assemble(
        id=_text(key, fields, "id") or id_,
        host=intern(host),
        host_name=intern(_text(key, fields, "host_name") or host),
        port=_port(key, fields),
        service_name=intern(_text(key, fields, "service_name") or service_name),
        meta=_meta(key, fields),
    )


def decode_meta(text: str) -> Mapping[str, object]:
    """Return the metadata of an entry from their own JSON, an object.

    Raises:
        ValueError: it isn't one JSON value, or is nested so deep that the whole entry has to be judged.
        RecursionError: the same.
        InvalidArgument: a value can't be used.
    """
    if text.count("[") + text.count("{") >= _DEEPEST:
        raise ValueError("it may be nested too deep")
    meta, end = _decoder.raw_decode(text)
    if not isinstance(meta, dict) or end != len(text):
        raise ValueError("it isn't one JSON object")
    return freeze_stored_meta(meta)


def _object(key: str, value: bytes) -> dict[str, object]:
    if _nested_too_deep(value):
        raise MalformedEntry(
            f"reading an entry: the value at {shown(key)} isn't JSON of at most {_DEEPEST} levels: it is nested deeper"
        )
    try:
        # Go's reader turns broken UTF-8 into replacement characters too.
        fields = _decoder.decode(value.decode("utf-8", "replace"))
    except (ValueError, RecursionError) as exc:
        raise MalformedEntry(f"reading an entry: the value at {shown(key)} isn't JSON: {exc}") from exc
    if not isinstance(fields, dict):
        raise MalformedEntry(
            f"reading an entry: the value at {shown(key)} is a JSON {type(fields).__name__}, not an object"
        )
    return fields


def _nested_too_deep(value: bytes) -> bool:
    """Return whether lists and objects are nested too deep. The parser's own limit depends on the thread's stack."""
    if value.count(b"[") + value.count(b"{") <= _DEEPEST:
        return False
    depth = 0
    for bracket in _STRUCTURE.finditer(value):
        if bracket[0] in b"[{":
            depth += 1
            if depth > _DEEPEST:
                return True
        elif bracket[0] in b"]}":
            depth -= 1
    return False


def _text(key: str, fields: Mapping[str, object], name: str) -> str:
    value = fields.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise MalformedEntry(f"reading an entry: {name!r} at {shown(key)} is {shown(value)}, not text")
    return without_surrogates(value)


def _port(key: str, fields: Mapping[str, object]) -> int:
    port = fields.get("port")
    if isinstance(port, float) and port.is_integer():
        port = int(port)
    if port is not None and (not isinstance(port, int) or isinstance(port, bool)):
        raise MalformedEntry(f"reading an entry: 'port' at {shown(key)} is {shown(port)}, not a whole number")
    return valid_port(port)


def _meta(key: str, fields: Mapping[str, object]) -> Mapping[str, object]:
    meta = fields.get("meta")
    if meta is None:
        return NO_META
    if not isinstance(meta, dict):
        raise MalformedEntry(f"reading an entry: 'meta' at {shown(key)} is {shown(meta)}, not an object")
    try:
        return freeze_stored_meta(meta)
    except InvalidArgument as exc:
        raise MalformedEntry(f"reading an entry: 'meta' at {shown(key)} can't be used: {exc}") from exc


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON number")


def _whole_number(text: str) -> int:
    # Go reads numbers as 64-bit floats. For a longer one, Python takes time by the square of its length.
    if len(text) > _LONGEST_NUMBER:
        raise ValueError(f"a number has {len(text)} digits")
    return int(text)


_decoder = json.JSONDecoder(parse_constant=_no_number, parse_int=_whole_number)
