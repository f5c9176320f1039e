"""A file of lines that is replaced as a whole and refused if anybody else may have changed it.

The file is text, one JSON value in a line: a head that says what it is of, the lines, and a tail with a digest::

    {"NAME": 1, "prefix": "/registry/prod/", "store": "etcd://...", "as_of": 1790000000.0}
    ...
    {"entries": 1, "sha256": "..."}                            of all lines before

A new file is written beside it, brought to the disk, and renamed. So a reader finds the former file or the new one. A
file that is cut off or changed is refused by its digest; so are one of another version or identity, one that others may
write, and what is no file.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import secrets
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tenure._runtime.deadline import wall_clock
from tenure.registry.model.immutable_json import shown

_MOST_BYTES = 1 << 30
_LEFT_BEHIND = 3600.0
"""Seconds after which an unfinished file beside the file was left behind by a process that died."""
_AHEAD = 60.0
"""Seconds by which clocks may differ. A file from a later time tells nothing about its age."""


class Refused(Exception):
    """The file isn't used. Its text is the reason."""


@dataclass(frozen=True, slots=True)
class Content:
    """What a file holds.

    Attributes:
        head: the fields of the first line.
        lines: the JSON values of the lines, each as text.
        age: seconds since they were true; infinite if nobody knows.
    """

    head: Mapping[str, object]
    lines: tuple[bytes, ...]
    age: float


class SealedFile:
    """One such file.

    Args:
        path: where it is. The folder exists.
        name: what kind of file it is; the version of that kind is ``version``.
        of: what it is of: fields of the head that have to agree, such as the prefix and the store.
    """

    def __init__(self, path: Path, *, name: str, version: int, of: Mapping[str, object]) -> None:
        self.path = path
        self._name = name
        self._version = version
        self._of = of

    def write(self, lines: Iterable[str], as_of: float, more: Mapping[str, object] | None = None) -> None:
        """Replace the file.

        Args:
            lines: a JSON value each, as text.
            as_of: when they were true, in seconds since 1970.
            more: further fields of the head.

        Raises:
            OSError: it can't be written; the former file is left as it was.
        """
        head = {self._name: self._version, **self._of, "as_of": as_of, **(more or {})}
        all_lines = [json.dumps(head), *lines]
        body = ("\n".join(all_lines) + "\n").encode()
        tail = json.dumps({"entries": len(all_lines) - 1, "sha256": hashlib.sha256(body).hexdigest()})
        folder, name = self.path.parent, self.path.name
        self._tidy(folder, name)
        if self.path.exists() and not self.path.is_file():
            raise OSError(errno.EINVAL, "a folder, a device or a pipe is there")
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

    def read(self) -> Content:
        """Return what the file holds.

        Raises:
            Refused: there is no file, or it can't be trusted or used.
        """
        body, head, tail = _parts(self._bytes())
        if head.get(self._name) != self._version:
            raise Refused(
                f"its version is {shown(head.get(self._name))}, and this Tenure reads version {self._version}"
            )
        for field, own in self._of.items():
            if head.get(field) != own:
                raise Refused(f"it is of another {field}: {shown(head.get(field))}, not {shown(own)}")
        if tail.get("sha256") != hashlib.sha256(body).hexdigest():
            raise Refused("its digest doesn't fit: it is cut off, or was changed")
        as_of = head.get("as_of")
        if not isinstance(as_of, int | float) or isinstance(as_of, bool):
            raise Refused(f"it doesn't say of what time it is: {shown(as_of)}")
        age = wall_clock() - as_of
        return Content(head, tuple(body.splitlines()[1:]), max(age, 0.0) if age >= -_AHEAD else float("inf"))

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


def _parts(content: bytes) -> tuple[bytes, dict[str, object], dict[str, object]]:
    """Return all but the last line, the first line and the last line."""
    end = content.rfind(b"\n", 0, -1) + 1
    body = content[:end]
    head, tail = json_of(body.partition(b"\n")[0]), json_of(content[end:])
    if not isinstance(head, dict) or not isinstance(tail, dict):
        raise Refused("it is no file of a registry")
    return body, head, tail


def json_of(line: bytes) -> object:
    """Return the JSON value of a line. Raises :class:`Refused`."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as exc:
        raise Refused("a line isn't JSON") from exc
