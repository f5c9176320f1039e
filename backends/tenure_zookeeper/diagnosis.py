"""What ``tenure doctor`` should know of an ensemble: certificates, connections, rights on the store's folder."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator

from tenure.plugin_kit import Deadline, examine_hosts
from tenure.spi.diagnosis import Finding, Verdict
from tenure.spi.plugin import Host, Tls
from tenure_zookeeper import encoding, keys
from tenure_zookeeper.connection import Connection
from tenure_zookeeper.encoding import Code
from tenure_zookeeper.session import ask

_MANY = 0.8
_NEVER = 2**31 - 1
"""A version that no node has, so that what is tried with it changes nothing."""
_LETTERS = {"c": "make keys", "r": "read", "w": "change keys", "d": "delete keys"}
"""What a user can't do without a right, by the letter of the right."""


def examine(
    connection: Connection, hosts: tuple[Host, ...], tls: Tls | None, deadline: Deadline
) -> tuple[Finding, ...]:
    """``Backend.diagnose``."""
    limit = _number(r"^maxClientCnxns=(\d+)", ask(connection.endpoints, "conf", deadline))
    open_now = _number(r"^Connections: *(\d+)", ask(connection.endpoints, "srvr", deadline))
    return (*_connections(limit, open_now), *_rights(connection, deadline), *examine_hosts(hosts, tls, deadline))


def _number(pattern: str, text: str) -> int | None:
    found = re.search(pattern, text, re.MULTILINE)
    return int(found[1]) if found else None


def _connections(limit: int | None, open_now: int | None) -> Iterator[Finding]:
    """Each lease is a session of its own, and so a connection: the limit per address is soon reached."""
    if limit is None:
        yield Finding(
            "connections",
            Verdict.WARNING,
            "the limit of connections per client address isn't known (maxClientCnxns, 60 by default); each lease takes "
            "one",
            "allow the word conf (4lw.commands.whitelist=srvr,conf); set maxClientCnxns above a machine's leases",
        )
        return
    known = "" if open_now is None else f"{open_now:,} are open now; "
    most = f"{limit:,}" if limit else "any number of"
    text = f"{known}a server takes {most} connections from one address (maxClientCnxns); each lease takes one"
    if limit and open_now is not None and open_now > limit * _MANY:
        yield Finding("connections", Verdict.WARNING, text, "raise maxClientCnxns, or 0 for no limit")
    else:
        yield Finding("connections", Verdict.OK, text)


def _rights(connection: Connection, deadline: Deadline) -> Iterator[Finding]:
    """Try each right on the store's folder. ZooKeeper looks at rights before it refuses for a version."""
    action = "trying the rights"
    folder, _ = keys.place(connection.namespace)
    scratch = keys.join(folder, f"tenure-doctor-{uuid.uuid4().hex}")
    refuse = encoding.check(folder, _NEVER)
    make = encoding.create_plain(scratch, b"", [encoding.Acl(31, "world", "anyone")])
    tried = connection.calls(
        [encoding.get_children(folder), encoding.set_data(folder, b"", _NEVER)], deadline=deadline, action=action
    )
    if tried[0].error == Code.NO_NODE:
        return  # nobody has written anything
    missing = {letter for letter, answer in zip("rw", tried, strict=True) if answer.error == Code.NO_AUTH}
    together = encoding.multi([make, encoding.delete(scratch), refuse])
    results = encoding.read_parts(connection.call(together, deadline=deadline, action=action))
    # The first part that is refused has its own code: those before it have OK, those behind it another one.
    missing |= {letter for letter, result in zip("cd", results, strict=False) if result == Code.NO_AUTH}
    if not missing:
        yield Finding("rights", Verdict.OK, "the user has c, r, w and d on the store's folder; a isn't needed")
        return
    lacks = ", ".join(f"{letter} (to {what})" for letter, what in _LETTERS.items() if letter in missing)
    yield Finding(
        "rights",
        Verdict.WARNING,
        f"on the store's folder the user lacks {lacks}",
        "give it by setAcl -R, as the page about TLS and rights shows, unless the user isn't to do that",
    )
