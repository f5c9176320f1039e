"""A file of what a registry knew: how it is written, and what is refused when it is read.

The file is text, one JSON value in a line::

    {"tenure-registry": 1, "prefix": "/registry/prod/", "store": "etcd://...", "as_of": 1790000000.0}
    ["/registry/prod/web/1@10.0.0.1", "{\\"id\\": ...}"]        each entry: its key, and its JSON as in the store
    {"entries": 1, "sha256": "..."}                            of all lines before

It is replaced as a whole: a new file is written beside it, brought to the disk, and renamed. So a reader finds the
former file or the new one. A file that is cut off or changed is refused by its digest; so are one of another version,
prefix or store, one that others may write, and what is no file. A refusal costs the start nothing but the file.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tenure._runtime.deadline import wall_clock
from tenure.errors import MalformedEntry
from tenure.registry.model.entry_reader import EntryReader
from tenure.registry.model.immutable_json import shown
from tenure.registry.model.instance import Instance
from tenure.registry.model.wire_format import encode

_VERSION = 1
_NAME = "tenure-registry"
_MOST_BYTES = 1 << 30
_LEFT_BEHIND = 3600.0
"""Seconds after which an unfinished file beside the file was left behind by a process that died."""
_AHEAD = 60.0
"""Seconds by which clocks may differ. A file from a later time tells nothing about its age."""


class Refused(Exception):
    """The file isn't used. Its text is the reason."""


@dataclass(frozen=True, slots=True)
class Known:
    """What a file holds.

    Attributes:
        entries: keys and instances.
        age: seconds since the entries were those of the store; infinite if nobody knows.
    """

    entries: tuple[tuple[str, Instance], ...]
    age: float


class WarmFile:
    """The file of one registry.

    Args:
        path: where it is. The folder exists.
        prefix: the prefix of the registry's keys.
        store: the URL of the store, without a password.
    """

    def __init__(self, path: Path, *, prefix: str, store: str) -> None:
        self.path = path
        self._prefix = prefix
        self._store = store

    def write(self, entries: Iterable[tuple[str, Instance]], as_of: float) -> None:
        """Replace the file. ``as_of``: when the entries were those of the store, in seconds since 1970.

        Raises:
            OSError: it can't be written; the former file is left as it was.
        """
        head = {_NAME: _VERSION, "prefix": self._prefix, "store": self._store, "as_of": as_of}
        lines = [json.dumps(head)]
        lines += (json.dumps([key, encode(instance).decode()]) for key, instance in entries)
        body = ("\n".join(lines) + "\n").encode()
        tail = json.dumps({"entries": len(lines) - 1, "sha256": hashlib.sha256(body).hexdigest()})
        folder, name = self.path.parent, self.path.name
        self._tidy(folder, name)
        unfinished = folder / f".{name}.{secrets.token_hex(8)}.new"
        try:
            # Created here and for this user alone: nobody else can have prepared a file or a link of this name.
            with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(body)
                file.write(tail.encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(unfinished, self.path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(unfinished)
            raise

    def _tidy(self, folder: Path, name: str) -> None:
        for old in folder.glob(f".{name}.*.new"):
            with contextlib.suppress(OSError):
                if wall_clock() - old.stat().st_mtime > _LEFT_BEHIND:
                    old.unlink()

    def read(self) -> Known:
        """Return what the file holds.

        Raises:
            Refused: there is no file, or it can't be trusted or used.
        """
        body, head, tail = _parts(self._bytes())
        if head.get(_NAME) != _VERSION:
            raise Refused(f"its version is {shown(head.get(_NAME))}, and this Tenure reads version {_VERSION}")
        for field, own in (("prefix", self._prefix), ("store", self._store)):
            if head.get(field) != own:
                raise Refused(f"it is of another {field}: {shown(head.get(field))}, not {shown(own)}")
        if tail.get("sha256") != hashlib.sha256(body).hexdigest():
            raise Refused("its digest doesn't fit: it is cut off, or was changed")
        as_of = head.get("as_of")
        if not isinstance(as_of, int | float) or isinstance(as_of, bool):
            raise Refused(f"it doesn't say of what time it is: {shown(as_of)}")
        age = wall_clock() - as_of
        return Known(self._entries(body), max(age, 0.0) if age >= -_AHEAD else float("inf"))

    def _bytes(self) -> bytes:
        try:
            # Not to wait for the other end of a pipe. A link is followed: what it leads to is judged.
            with open(os.open(self.path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
                found = os.fstat(file.fileno())
                if not stat.S_ISREG(found.st_mode):
                    raise Refused("it is no regular file")
                if found.st_uid not in (os.geteuid(), 0) or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                    raise Refused("another user may have written it: it has to belong to this user and be 0600 or 0644")
                if found.st_size > _MOST_BYTES:
                    raise Refused(f"it has {found.st_size} bytes, more than {_MOST_BYTES}")
                return file.read(_MOST_BYTES)
        except FileNotFoundError:
            raise Refused("there is none") from None
        except OSError as exc:
            raise Refused(f"it can't be read: {exc.strerror or exc}") from exc

    def _entries(self, body: bytes) -> tuple[tuple[str, Instance], ...]:
        reader = EntryReader(self._prefix)
        entries: list[tuple[str, Instance]] = []
        for line in body.splitlines()[1:]:
            pair = _json(line)
            if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(part, str) for part in pair)):
                raise Refused("a line isn't an entry")
            key, value = pair
            try:
                instance, _ = reader.read(key, value.encode("utf-8", "replace"))
            except MalformedEntry as exc:
                raise Refused(f"a line isn't an entry: {exc}") from exc
            if not key.startswith(self._prefix):
                raise Refused(f"an entry is of another prefix: {shown(key)}")
            entries.append((key, instance))
        return tuple(entries)


def _parts(content: bytes) -> tuple[bytes, dict[str, object], dict[str, object]]:
    """Return all but the last line, the first line and the last line."""
    end = content.rfind(b"\n", 0, -1) + 1
    body = content[:end]
    head, tail = _json(body.partition(b"\n")[0]), _json(content[end:])
    if not isinstance(head, dict) or not isinstance(tail, dict):
        raise Refused("it is no file of a registry")
    return body, head, tail


def _json(line: bytes) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as exc:
        raise Refused("a line isn't JSON") from exc
