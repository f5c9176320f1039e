"""What ``tenure doctor`` should know of an ensemble: certificates, connections, who may use the store's folder."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Iterator

from tenure.plugin_kit import Deadline, examine_hosts
from tenure.spi.diagnosis import Finding, Verdict, named_warnings
from tenure.spi.plugin import Host, Tls
from tenure.spi.types import ServerInfo
from tenure_zookeeper import encoding, keys
from tenure_zookeeper.connection import Connection
from tenure_zookeeper.encoding import Code
from tenure_zookeeper.session import ask

_MANY = 0.8
_NEVER = 2**31 - 1
"""A version that no node has, so that what is tried with it changes nothing."""
_LETTERS = {"c": "make keys", "r": "read", "w": "change keys", "d": "delete keys"}
"""What a user can't do without a right, by the letter of the right."""
_BITS = {"r": 1, "w": 2, "c": 4, "d": 8, "a": 16}
_READING = _BITS["r"]
_ANYONE = ("world", "anyone")
_CLOSE = "give the URL a user and acl=creator, and set the list of what is there: see the page 'TLS and rights'"
_NAMES = (
    ("no user in the URL", "access", _CLOSE),
    ("user and password go over the network in plain text", "access", "see the page 'TLS and rights'"),
    ("what is read and written goes over the network in plain text", "access", "see the page 'TLS and rights'"),
)
"""How warnings of ``server_info`` begin, what doctor calls them, and what to do."""


def examine(
    connection: Connection, server: ServerInfo, hosts: tuple[Host, ...], tls: Tls | None, deadline: Deadline
) -> tuple[Finding, ...]:
    """``Backend.diagnose``."""
    limit = _number(r"^maxClientCnxns=(\d+)", ask(connection.endpoints, "conf", deadline))
    open_now = _number(r"^Connections: *(\d+)", ask(connection.endpoints, "srvr", deadline))
    return (
        *named_warnings(server.warnings, _NAMES),
        *_access(connection, deadline),
        *_connections(limit, open_now),
        *_rights(connection, deadline),
        *examine_hosts(hosts, tls, deadline),
    )


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


def _access(connection: Connection, deadline: Deadline) -> Iterator[Finding]:
    """Who else may use the store's folder, and what this client writes; a warning tells of a URL without a user."""
    if connection.login.user is None:
        return
    folder, _ = keys.place(connection.namespace)
    answer = connection.call(encoding.get_acl(folder), deadline=deadline, action="asking who may use the folder")
    listed = encoding.read_acl(answer) if not answer.error else []
    if _world(listed) & ~_READING:
        text = f"any client that reaches the servers may change keys: the store's folder has the ACL {_shown(listed)}"
        yield Finding("access", Verdict.WARNING, text, _CLOSE)
    elif _world(connection.acl) & ~_READING:
        text = "the option acl=open: any client that reaches the servers may read and change what this client writes"
        yield Finding("access", Verdict.WARNING, text, _CLOSE)
    elif answer.error == Code.NO_AUTH:
        yield Finding("access", Verdict.OK, "this user may not ask for the ACL of the store's folder")
    elif listed:
        yield Finding("access", Verdict.OK, f"the store's folder has the ACL {_shown(listed)}")


def _world(acl: Iterable[encoding.Acl]) -> int:
    """The rights of every client, as bits."""
    given = 0
    for entry in acl:
        if entry[1:] == _ANYONE:
            given |= entry.permissions
    return given


def _shown(acl: Iterable[encoding.Acl]) -> str:
    """An ACL as ``setAcl`` takes it, without what a digest proves a password by."""
    return ", ".join(
        f"{scheme}:{identity.partition(':')[0] if scheme == 'digest' else identity}:"
        + "".join(letter for letter, bit in _BITS.items() if permissions & bit)
        for permissions, scheme, identity in acl
    )


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
