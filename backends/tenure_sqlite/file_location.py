"""Where the file is: the default place, and what is known about the disk it lies on.

The default place is ``tenure/tenure.db`` in the user's state folder. Before the project was renamed it was
``leasehold/leasehold.db`` there. That file is opened if it exists and the new one doesn't: an empty store in its stead
would look like one that lost its keys. The file stays where it is: programs of the old version may have it open, and
SQLite finds the two files beside it by its name.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from tenure.errors import ConfigError, PermissionDenied

_NETWORK = frozenset(
    {"9p", "afs", "ceph", "cifs", "fuse.glusterfs", "fuse.sshfs", "gfs2", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2",
     "smb2", "smb3", "smbfs", "virtiofs"}
)  # fmt: skip
_LONGEST_SUFFIX = "-journal"
"""What SQLite puts behind the file's name."""
_SHOWN = 200
"""Characters of a path in a message."""
_MOUNTS = Path("/proc/mounts")


def locate(path: str) -> str:
    """The absolute path to open, links resolved. An empty ``path`` is the user's default store, whose folder is made
    if there is no store of before the rename.

    Raises ``ConfigError`` if the folder doesn't exist or the path names something that isn't a file.
    """
    if not path:
        return str(_default())
    found = Path(os.path.realpath(path))
    try:
        os.lstat(str(found) + _LONGEST_SUFFIX)
    except FileNotFoundError:
        pass
    except OSError as exc:
        raise ConfigError(
            f"opening the file {path[:_SHOWN]!r}: {exc.strerror}; name a file in a folder that can be read, and keep "
            f"{len(_LONGEST_SUFFIX)} bytes free for the files beside it"
        ) from exc
    if not found.parent.is_dir():
        raise ConfigError(f"the folder {found.parent} doesn't exist: make it, or correct the path {path!r}")
    if found.exists() and not found.is_file():
        raise ConfigError(f"{path!r} isn't a file: the store needs the path of a file, such as {path.rstrip('/')}/x.db")
    return str(found)


def _default() -> Path:
    state = os.environ.get("XDG_STATE_HOME", "")
    # The convention for that variable is to ignore a relative path.
    base = Path(state) if os.path.isabs(state) else Path.home() / ".local" / "state"
    file, before_the_rename = base / "tenure" / "tenure.db", base / "leasehold" / "leasehold.db"
    if not os.path.lexists(file) and os.path.isfile(before_the_rename):
        file = before_the_rename
    folder = file.parent
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as exc:
        raise PermissionDenied(
            f"can't make the folder {folder} of the default store ({exc.strerror}): "
            "set XDG_STATE_HOME to a folder that can be written, or give a path in the URL"
        ) from exc
    _refuse_what_others_own(folder)
    _refuse_what_others_own(file)
    return file


def make_private(file: str) -> None:
    """Make the file of the default store, readable by its user alone. SQLite gives the files beside it the same rights.

    A store at a path that the user chose gets the rights that new files of the user get.
    """
    try:
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as exc:
        raise PermissionDenied(
            f"can't open the default store {file} ({exc.strerror}): set XDG_STATE_HOME to a folder that can be "
            "written, or give a path in the URL"
        ) from exc


def _refuse_what_others_own(path: Path) -> None:
    """Refuse a default place that another user made, such as a link out of the user's folders, or can change."""
    for look, what in ((os.lstat, "belongs to"), (os.stat, "leads to what belongs to")):
        try:
            found = look(path)
        except FileNotFoundError:
            return
        if found.st_uid not in (os.geteuid(), 0):
            raise PermissionDenied(
                f"the default store's {path} {what} another user (id {found.st_uid}): remove it, set XDG_STATE_HOME "
                "to a folder of your own, or give a path in the URL"
            )
    if stat.S_ISDIR(found.st_mode) and found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionDenied(
            f"other users can write into the default store's folder {path}: run chmod go-w on it, set XDG_STATE_HOME "
            "to a folder of your own, or give a path in the URL"
        )


def filesystem(path: str) -> str:
    """The type of the filesystem that ``path`` lies on, such as ``ext4``; empty where the system doesn't tell."""
    try:
        lines = _MOUNTS.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return ""
    best, kind = "", ""
    for line in lines:
        _, mount, found, *_ = line.split(" ")
        mount = mount.encode("utf-8", "surrogateescape").decode("unicode_escape") if "\\" in mount else mount
        inside = path.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= len(best):
            best, kind = mount, found
    return kind


def is_network(kind: str) -> bool:
    return kind in _NETWORK
