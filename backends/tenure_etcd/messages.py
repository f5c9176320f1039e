"""Message classes and call stubs, built when this module is imported from the text in ``proto_text``.

Generated code is tied to the protobuf release that made it, and registers itself in a pool shared by the
whole process, where a second ``rpc.proto`` of another package clashes. So there is none: the text is turned
into descriptors in a pool of our own, which works with every protobuf from 4.22 on and meets nobody.
Building takes a few milliseconds, once per process.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from tenure_etcd.proto_text import PACKAGE, PROTO

_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "int64": _Field.TYPE_INT64,
    "uint64": _Field.TYPE_UINT64,
    "uint32": _Field.TYPE_UINT32,
    "bool": _Field.TYPE_BOOL,
    "string": _Field.TYPE_STRING,
    "bytes": _Field.TYPE_BYTES,
}


@dataclass(frozen=True, slots=True)
class Method:
    """One remote call: its path, message names, and which sides stream."""

    path: str
    request: str
    response: str
    request_streams: bool
    response_streams: bool


class _Parser:
    """Reads the subset of the proto language that ``proto_text`` uses into a file descriptor and a method table."""

    def __init__(self, text: str) -> None:
        self._tokens: Iterator[str] = iter(re.findall(r"\w+|[{}=;()]", text))
        self._enums: set[str] = set()
        self.file = descriptor_pb2.FileDescriptorProto(name="tenure_etcd/rpc.proto", package=PACKAGE, syntax="proto3")
        self.methods: dict[str, dict[str, Method]] = {}
        for word in self._tokens:
            if word == "message":
                self._message(self.file.message_type.add(name=next(self._tokens)))
            elif word == "enum":
                self._enum(self.file.enum_type.add(name=next(self._tokens)))
            else:
                self._service(next(self._tokens))
        self._mark_enums()

    def _skip(self, count: int) -> None:
        for _ in range(count):
            next(self._tokens)

    def _message(self, message: Any) -> None:
        self._skip(1)
        while (word := next(self._tokens)) != "}":
            if word == "enum":
                self._enum(message.enum_type.add(name=next(self._tokens)))
            elif word == "oneof":
                message.oneof_decl.add(name=next(self._tokens))
                self._skip(1)
                while (kind := next(self._tokens)) != "}":
                    self._field(message, kind).oneof_index = len(message.oneof_decl) - 1
            elif word == "repeated":
                self._field(message, next(self._tokens)).label = _Field.LABEL_REPEATED
            else:
                self._field(message, word)

    def _field(self, message: Any, kind: str) -> Any:
        field = message.field.add(name=next(self._tokens), label=_Field.LABEL_OPTIONAL)
        self._skip(1)
        field.number = int(next(self._tokens))
        self._skip(1)
        if kind in _SCALARS:
            field.type = _SCALARS[kind]
        else:
            field.type, field.type_name = _Field.TYPE_MESSAGE, kind
        return field

    def _enum(self, enum: Any) -> None:
        self._enums.add(enum.name)
        self._skip(1)
        while (word := next(self._tokens)) != "}":
            self._skip(1)
            enum.value.add(name=word, number=int(next(self._tokens)))
            self._skip(1)

    def _service(self, service: str) -> None:
        table = self.methods.setdefault(service, {})
        self._skip(1)
        while next(self._tokens) != "}":
            name = next(self._tokens)
            request, request_streams = self._argument()
            self._skip(1)
            response, response_streams = self._argument()
            self._skip(1)
            path = f"/{PACKAGE}.{service}/{name}"
            table[name] = Method(path, request, response, request_streams, response_streams)

    def _argument(self) -> tuple[str, bool]:
        self._skip(1)
        word = next(self._tokens)
        streams = word == "stream"
        name = next(self._tokens) if streams else word
        self._skip(1)
        return name, streams

    def _mark_enums(self) -> None:
        for message in self.file.message_type:
            for field in message.field:
                if field.type_name in self._enums:
                    field.type = _Field.TYPE_ENUM


_parsed = _Parser(PROTO)
_pool: Any = descriptor_pool.DescriptorPool()
_pool.AddSerializedFile(_parsed.file.SerializeToString())
_file: Any = _pool.FindFileByName(_parsed.file.name)

MESSAGES: dict[str, Any] = {
    name: message_factory.GetMessageClass(descriptor) for name, descriptor in _file.message_types_by_name.items()
}
"""Message classes by name, such as ``RangeRequest``."""

METHODS: dict[str, dict[str, Method]] = _parsed.methods
"""Service name, then method name, to how it is called."""

ENUM_VALUES: dict[str, int] = {
    value.name: value.number for enum in _file.enum_types_by_name.values() for value in enum.values
}
"""Values of the enums outside messages."""


def bind(channel: Any, service: str) -> dict[str, Any]:
    """The callables of ``service`` on a gRPC channel, by method name."""
    callables = {}
    for name, method in METHODS[service].items():
        kind = f"{'stream' if method.request_streams else 'unary'}_{'stream' if method.response_streams else 'unary'}"
        callables[name] = getattr(channel, kind)(
            method.path,
            request_serializer=MESSAGES[method.request].SerializeToString,
            response_deserializer=MESSAGES[method.response].FromString,
        )
    return callables


def stub_class(service: str) -> type[Any]:
    """A class made like gRPC's generated stubs: takes a channel, has one callable attribute per method."""

    def __init__(self: Any, channel: Any) -> None:  # noqa: N807 - becomes the class's constructor
        self.__dict__.update(bind(channel, service))

    return type(f"{service}Stub", (), {"__init__": __init__})
