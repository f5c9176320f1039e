"""The agent's socket in the file system: who may connect, and that one agent alone has it.

* A lock on a file beside the socket says that an agent runs. It ends with the process, however that ends. So a socket
  that is there while the lock is free was left behind, and is replaced.
* Nothing but a socket of this user is ever replaced, and none at which somebody else listens.
* The socket is made in a folder that only this user can enter, gets its mode there, and is moved into its place. At no
  moment can anybody connect whom the mode shuts out.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import socket
import stat
from pathlib import Path

from tenure.errors import ConfigError, PermissionDenied, Unavailable

LONGEST = 107
"""Bytes of a path that Linux takes for a socket."""
_BACKLOG = 1024
_RACES = 100


class SocketFile:
    """The place of one agent's socket.

    Args:
        path: the socket, in a folder that exists.
        mode: the permissions of the file: who may write it may connect.
    """

    def __init__(self, path: Path, mode: int) -> None:
        self.path = path
        self._mode = mode
        self._lock: int | None = None
        self._made: tuple[int, int] | None = None

    def claim(self) -> None:
        """Make sure that no other agent has the socket, until :meth:`release`.

        Raises:
            ConfigError: something else is at the path, or the path can't be one.
            PermissionDenied: this user may not make files there, or the files belong to another user.
            Unavailable: another agent runs.
        """
        if len(os.fsencode(self.path)) > LONGEST:
            raise ConfigError(
                f"listening at {str(self.path)!r}: the path has {len(os.fsencode(self.path))} bytes, and a socket's "
                f"has at most {LONGEST}; choose a shorter one"
            )
        folder = self.path.parent
        if not folder.is_dir():
            raise ConfigError(f"listening at {str(self.path)!r}: there is no folder {str(folder)!r}; make it")
        _check_folder(folder)
        self._take_lock()
        try:
            self._check_place()
        except BaseException:
            self.release()
            raise

    def _take_lock(self) -> None:
        path = self.path.with_name(f"{self.path.name}.lock")
        for _ in range(_RACES):
            try:
                lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
            except OSError as exc:
                raise _refused(f"making {str(path)!r}", exc) from exc
            found = os.fstat(lock)
            if not stat.S_ISREG(found.st_mode) or found.st_uid not in (os.geteuid(), 0):
                os.close(lock)
                raise PermissionDenied(
                    f"listening at {str(self.path)!r}: {str(path)!r} is no file of this user; remove it, or choose "
                    "another folder"
                )
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                pid = os.pread(lock, 20, 0).decode(errors="replace").strip()
                os.close(lock)
                raise Unavailable(
                    f"listening at {str(self.path)!r}: another agent has this socket"
                    f"{f' (process {pid})' if pid.isdigit() else ''}; end it first, or choose another --socket"
                ) from None
            with contextlib.suppress(OSError):
                named = os.stat(path, follow_symlinks=False)
                if (named.st_dev, named.st_ino) == (found.st_dev, found.st_ino):
                    os.ftruncate(lock, 0)
                    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
                    self._lock = lock
                    return
            os.close(lock)  # its former owner removed it meanwhile
        raise Unavailable(f"listening at {str(self.path)!r}: {str(path)!r} changes all the time; look who removes it")

    def _check_place(self) -> None:
        try:
            found = os.lstat(self.path)
        except FileNotFoundError:
            return
        except OSError as exc:
            raise _refused(f"listening at {str(self.path)!r}", exc) from exc
        if not stat.S_ISSOCK(found.st_mode):
            what = "a symbolic link" if stat.S_ISLNK(found.st_mode) else "no socket"
            raise ConfigError(
                f"listening at {str(self.path)!r}: {what} is there already; remove it, or choose another --socket"
            )
        if found.st_uid != os.geteuid() and os.geteuid() != 0:
            raise PermissionDenied(
                f"listening at {str(self.path)!r}: a socket of another user ({found.st_uid}) is there; choose a folder "
                "that only this user can write"
            )
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
            answer = probe.connect_ex(os.fspath(self.path))
        if answer in (0, errno.EAGAIN):
            raise Unavailable(
                f"listening at {str(self.path)!r}: another program listens there; end it first, or choose another "
                "--socket"
            )

    def listen(self) -> socket.socket:
        """Return a socket that listens at the path, with the mode; what was at the path is replaced.

        Raises:
            PermissionDenied: this user may not make files there.
            Unavailable: another reason of the system.
        """
        folder = self.path.parent / f".{self.path.name[:16]}.{secrets.token_hex(8)}"
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        inside: int | None = None
        try:
            os.mkdir(folder, 0o700)
            inside = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            # By the number of the folder: its path may be too long for a socket.
            listener.bind(f"/proc/self/fd/{inside}/s")
            os.chmod("s", self._mode, dir_fd=inside)
            listener.listen(_BACKLOG)
            found = os.stat("s", dir_fd=inside, follow_symlinks=False)
            os.rename("s", self.path, src_dir_fd=inside)
            self._made = found.st_dev, found.st_ino
        except OSError as exc:
            listener.close()
            raise _refused(f"listening at {str(self.path)!r}", exc) from exc
        finally:
            if inside is not None:
                with contextlib.suppress(OSError):
                    os.unlink("s", dir_fd=inside)
                os.close(inside)
            with contextlib.suppress(OSError):
                os.rmdir(folder)
        return listener

    @property
    def in_place(self) -> bool:
        """Whether the path still leads to the socket that :meth:`listen` made."""
        try:
            found = os.lstat(self.path)
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == self._made

    def release(self) -> None:
        """Remove the socket, if it is still the one that was made, and let another agent have the place."""
        if self._made is not None and self.in_place:
            with contextlib.suppress(OSError):
                os.unlink(self.path)
        self._made = None
        lock, self._lock = self._lock, None
        if lock is not None:
            with contextlib.suppress(OSError):
                os.unlink(self.path.with_name(f"{self.path.name}.lock"))
            os.close(lock)


def _check_folder(folder: Path) -> None:
    """Refuse a folder in which every user could put another socket in the place of this one."""
    found = os.stat(folder)
    if found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
        raise PermissionDenied(
            f"listening in {str(folder)!r}: every user may replace files there; choose a folder that only this user "
            "can write, as systemd's RuntimeDirectory= makes one"
        )


def _refused(action: str, exc: OSError) -> PermissionDenied | Unavailable:
    why = exc.strerror or str(exc)
    if exc.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return PermissionDenied(f"{action}: {why}; choose a folder that this user can write")
    return Unavailable(f"{action}: {why}; look after the folder {action.partition(' ')[2]} is in")
