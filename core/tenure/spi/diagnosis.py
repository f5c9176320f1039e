"""What a diagnosis consists of: findings with advice, and the rights that each use of a store needs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How one check ended. These are the words of ``tenure doctor`` and of its JSON.

    Attributes:
        OK: nothing is wrong.
        WARNING: it works, and something may break it or weakens a guarantee.
        FAILED: it doesn't work.
    """

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: a word for what was looked at, such as ``eviction``, for people and programs.
        verdict: how the check ended.
        text: what was found, with the values.
        advice: what to do; empty if there is nothing to do.
    """

    name: str
    verdict: Verdict
    text: str
    advice: str = ""


class Use(StrEnum):
    """What an application does with a store, as far as a server may grant or refuse it.

    Attributes:
        OPEN: connect.
        READ: get and list keys.
        WATCH: watch keys.
        WRITE: put and delete keys.
        LEASE: grant, refresh and revoke leases.
        LIST_LEASES: list the leases of all clients.
        DIAGNOSE: learn about the server's settings; no guarantee depends on it.
    """

    OPEN = "open"
    READ = "read"
    WATCH = "watch"
    WRITE = "write"
    LEASE = "lease"
    LIST_LEASES = "list leases"
    DIAGNOSE = "diagnose"


@dataclass(frozen=True, slots=True)
class Right:
    """The rights that one use of a store needs.

    Attributes:
        use: what the application does.
        needed: the rights in the store's own words; names between backquotes.
    """

    use: Use
    needed: str


def named_warnings(warnings: Iterable[str], names: Iterable[tuple[str, str, str]]) -> list[Finding]:
    """Return findings for warnings of ``server_info`` that have a name and advice.

    Args:
        warnings: the sentences.
        names: how a warning begins, the finding's name, and what to do.

    Returns:
        One finding for each warning that begins like one of ``names``; the others are left out.
    """
    known = tuple(names)
    found = []
    for text in warnings:
        match = next(((name, advice) for begin, name, advice in known if text.startswith(begin)), None)
        if match is not None:
            found.append(Finding(match[0], Verdict.WARNING, text, match[1]))
    return found
