"""One output file: a candidate beside it takes its place in one step, so that a reader sees the old one or the new one.

A command that has to run after the replacement is due until it has succeeded. A marker beside the file remembers that,
so that it is run after a crash in between, too.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

_DEFAULT_MODE = 0o644


class OutputFile:
    """A file that is replaced as a whole. A symbolic link keeps pointing to it.

    Args:
        path: the file; its folder has to exist.
        mode: permissions of the file; by default those that it has, and 0644 for a new one.
    """

    def __init__(self, path: Path, mode: int | None = None) -> None:
        self.path = Path(os.path.realpath(path))
        self._mode = mode
        self._marker = self.path.with_name(f".{self.path.name}.due")

    def content(self) -> bytes | None:
        """Return the present content; ``None`` if there is no file. Raises ``OSError``."""
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return None

    @contextlib.contextmanager
    def candidate(self, content: bytes) -> Iterator[Path]:
        """Write the content into a file beside it, with its mode and owner. It is removed unless it took its place.

        Raises:
            OSError: it can't be written, or can't get the owner that the file has.
        """
        # Always the same name, so that a process that is killed leaves one at most. Nobody else's file is followed.
        if self.path.exists() and not self.path.is_file():
            raise OSError(
                errno.EINVAL, "a folder, a device or a pipe is there, and no file can take its place", str(self.path)
            )
        candidate = self.path.with_name(f".{self.path.name}.new")
        candidate.unlink(missing_ok=True)
        handle = os.open(candidate, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                self._dress(file.fileno())
                os.fsync(file.fileno())
            yield candidate
        finally:
            candidate.unlink(missing_ok=True)

    def replace(self, candidate: Path, *, due: bool) -> None:
        """Let the candidate take the file's place, on the disk too.

        Args:
            candidate: the path that :meth:`candidate` gave.
            due: whether a command has to run now.

        Raises:
            OSError: the system refused it; the file is as it was.
        """
        if due:
            self._marker.touch(mode=0o600)
        candidate.replace(self.path)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    @property
    def due(self) -> bool:
        """Whether a command has to run since the last replacement."""
        return self._marker.exists()

    def done(self) -> None:
        """Remember that the command has succeeded."""
        self._marker.unlink(missing_ok=True)

    def _dress(self, descriptor: int) -> None:
        try:
            present = self.path.stat()
        except FileNotFoundError:
            os.fchmod(descriptor, _DEFAULT_MODE if self._mode is None else self._mode)
            return
        own = os.fstat(descriptor)
        if (own.st_uid, own.st_gid) != (present.st_uid, present.st_gid):
            os.fchown(descriptor, present.st_uid, present.st_gid)
        # After the change of owner, which clears some bits.
        os.fchmod(descriptor, stat.S_IMODE(present.st_mode) if self._mode is None else self._mode)
