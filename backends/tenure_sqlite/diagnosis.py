"""What ``tenure doctor`` should know of a file: its write-ahead log, and the room on its disk."""

from __future__ import annotations

import os

from tenure.spi import Finding, ServerInfo, Verdict, named_warnings

_LITTLE = 256 << 20
_MIB = 1 << 20

_NAMES = (
    ("the write-ahead log", "wal", "end the program that reads all the time, then PRAGMA wal_checkpoint(TRUNCATE)"),
    ("the file lies on a network", "filesystem", "move the file to a local disk, or use a store with a server"),
    ("the file lies in memory", "persistence", "move the file to a disk if it shall outlive a reboot"),
    ("a loss of power", "persistence", "add ?synchronous=full to the URL if the last writes count"),
    ("the journal mode", "journal", "run PRAGMA journal_mode=wal"),
    ("the file is damaged", "corruption", "bring back a backup"),
)
"""How warnings of ``server_info`` begin, what doctor calls them, and what to do."""


def examine(path: str, server: ServerInfo) -> tuple[Finding, ...]:
    """``Backend.diagnose``."""
    found = named_warnings(server.warnings, _NAMES)
    if not any(finding.name == "wal" for finding in found):
        found.append(Finding("wal", Verdict.OK, f"the write-ahead log has {server.details['write-ahead log']}"))
    room = os.statvfs(os.path.dirname(os.path.abspath(path)))
    free = room.f_bavail * room.f_frsize
    text = f"{free // _MIB:,} MiB are free on the disk of the file"
    if free < _LITTLE:
        found.append(Finding("disk", Verdict.WARNING, f"{text}: a full disk refuses writes", "make room"))
    else:
        found.append(Finding("disk", Verdict.OK, text))
    return tuple(found)
