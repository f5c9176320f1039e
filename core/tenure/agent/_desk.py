"""Answers the programs' requests from what the agent knows. Everything here runs on the server's thread."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from tenure.agent import _wire
from tenure.agent._connection import Connection, Delivery
from tenure.agent._prefix import Prefix
from tenure.agent._server import Limits
from tenure.errors import ConfigError, LimitExceeded, TenureError, Unavailable
from tenure.spi.feed import Away
from tenure.spi.types import KeyValue

_MOST_KEY_BYTES = 8192


@dataclass(slots=True)
class Knowledge:
    """What the agent knows, and how old it is. The server's thread alone changes it.

    Attributes:
        prefixes: what is served.
        store: the store's URL without a password.
        namespace: the namespace of that URL.
        capabilities: those of the store; ``None`` until it was reached or the file was read.
        away: why the store isn't reached, and since when by ``now``; ``None`` while it is.
    """

    prefixes: tuple[Prefix, ...]
    store: str
    namespace: str
    capabilities: Mapping[str, Any] | None
    away: tuple[float, TenureError] | None
    now: Callable[[], float]

    def how_old(self) -> Away | None:
        """Return how old everything is; ``None`` while the store is reached."""
        return None if self.away is None else Away(max(0.0, self.now() - self.away[0]), self.away[1])

    def away_words(self) -> list[object] | None:
        """Return the same for a message."""
        away = self.how_old()
        return (
            None
            if away is None
            else [round(away.age, 3) if isfinite(away.age) else None, *_wire.error_words(away.error)]
        )


class Desk:
    """Answers by what ``knowledge`` has. ``status`` returns what ``tenure agent status`` shows."""

    def __init__(
        self,
        knowledge: Knowledge,
        limits: Limits,
        status: Callable[[], Mapping[str, object]],
        ticked: Callable[[], object],
    ) -> None:
        self._knowledge = knowledge
        self._limits = limits
        self._status = status
        self._ticked = ticked

    def ticked(self) -> None:
        """Half a second has passed."""
        self._ticked()

    def introduced(self, connection: Connection, hello: list[object]) -> None:
        """Answer the first message of a program: ``[0, "tenure-agent", VERSION]``."""
        if hello[1:2] != [_wire.NAME]:
            raise _wire.Broken("the first message isn't that of a program of Tenure's")
        if hello[2:3] != [_wire.VERSION]:
            raise _wire.Broken(
                f"the program speaks version {str(hello[2:3])[:40]} of the protocol, and this agent version "
                f"{_wire.VERSION}; update the older of the two"
            )
        known = self._knowledge
        connection.introduced = True
        connection.answer(
            0,
            _wire.NAME,
            _wire.VERSION,
            {
                "pid": os.getpid(),
                "ping": self._limits.ping,
                "store": known.store,
                "namespace": known.namespace,
                "prefixes": [prefix.prefix for prefix in known.prefixes],
                "capabilities": known.capabilities,
                "away": known.away_words(),
            },
        )

    def asked(self, connection: Connection, request: list[object]) -> None:
        """Answer a request: ``[number, action, arguments]``."""
        match request:
            case [int(number), str(action), dict(given)] if number > 0:
                pass
            case _:
                raise _wire.Broken("a request is a number, an action and arguments")
        try:
            if action == "watch":
                self._watch(connection, number, given)
            elif action == "unwatch":
                delivery = connection.watches.pop(number, None)
                if delivery is not None:
                    delivery.prefix.remove(delivery)
            elif action == "list":
                self._list(connection, number, given)
            elif action == "status":
                connection.answer(number, "status", self._status())
            else:
                raise _wire.Broken(f"there is no action {action[:40]!r}")
        except TenureError as exc:
            connection.answer(number, "failed", *_wire.error_words(exc))

    def _found(self, given: Mapping[str, Any], action: str) -> tuple[Prefix, str]:
        wanted = given.get("prefix")
        if not isinstance(wanted, str) or len(wanted) > _MOST_KEY_BYTES:
            raise _wire.Broken("a prefix is text")
        for prefix in self._knowledge.prefixes:
            if wanted.startswith(prefix.prefix):
                if not prefix.source:
                    why = "" if self._knowledge.away is None else f": {self._knowledge.away[1]}"
                    raise Unavailable(
                        f"{action} {wanted!r}: the agent has not reached its store yet, and has no file of it{why}"
                    )
                return prefix, wanted
        served = ", ".join(repr(prefix.prefix) for prefix in self._knowledge.prefixes[:5])
        raise ConfigError(
            f"{action} {wanted!r}: the agent serves {served}{' ...' if len(self._knowledge.prefixes) > 5 else ''} "
            "alone; start it with other --name or --service options, or name the store by the URL's option store"
        )

    def _watch(self, connection: Connection, number: int, given: Mapping[str, Any]) -> None:
        if number in connection.watches:
            raise _wire.Broken("the number of a watch is used twice")
        if len(connection.watches) >= self._limits.watches:
            raise LimitExceeded(
                f"watching: this connection has {self._limits.watches} watches already; close some of them"
            )
        prefix, wanted = self._found(given, "watching")
        after, mark = given.get("after"), given.get("mark", "")
        if not (after is None or (type(after) is int and after >= 0)) or not isinstance(mark, str):
            raise _wire.Broken("what to watch after is a revision and a mark")
        if prefix.source == "file" and (after is not None or given.get("begun") is True):
            raise Unavailable(
                f"watching {wanted!r}: the agent was started again while its store is away, and knows no more than its "
                "file; what this watch has delivered may be newer"
            )
        if after is not None:
            unique = bool((self._knowledge.capabilities or {}).get("unique_revisions"))
            prefix.check_after(after, mark, unique=unique)
        exact = given.get("exact") is True
        delivery = Delivery(connection, number, prefix, (wanted, exact), -1 if after is None else after)
        connection.watches[number] = delivery
        connection.answer(number, "opened", prefix.mark)
        if after is None:
            prefix.begin(delivery, self._state_after)
            return
        prefix.resume(delivery)
        connection.answer(number, "at", max(prefix.revision, after), self._knowledge.away_words())

    def _state_after(self, revision: int) -> bytes:
        return _tail("state", revision, self._knowledge.away_words())

    def _list(self, connection: Connection, number: int, given: Mapping[str, Any]) -> None:
        prefix, wanted = self._found(given, "listing")
        after, limit = given.get("after"), given.get("limit")
        if not (after is None or isinstance(after, str)) or not (limit is None or (type(limit) is int and limit > 0)):
            raise _wire.Broken("a page begins after a key and has a limit")
        exact, keys_only = given.get("exact") is True, given.get("keys_only") is True
        if after is None and limit is None and not keys_only:
            encoded, since = prefix.snapshot((wanted, exact))
            for part in encoded.parts:
                connection.put(_wire.frame(b"[%d," % number, b'"part",', part, b"]"), keeps=encoded)
            for part in since:
                connection.put(_wire.frame(b"[%d," % number, b'"part",', part, b"]"))
            connection.answer(number, "page", prefix.revision, False, self._knowledge.away_words())
            return
        found: Sequence[KeyValue]
        if exact:
            found, more = [prefix.items[wanted]] if wanted in prefix.items else [], False
        else:
            found, more = prefix.page(wanted, after, limit)
        if keys_only:
            found = [item._replace(value=b"") for item in found]
        for part in _wire.groups(found):
            connection.put(_wire.frame(b"[%d," % number, b'"part",', part, b"]"))
        connection.answer(number, "page", prefix.revision, more, self._knowledge.away_words())


def _tail(*elements: object) -> bytes:
    """The JSON of a message behind its number."""
    return b"".join(_wire.message(*elements)[1:])[1:]
