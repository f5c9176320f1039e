"""Whether a list is complete. Consul leaves out of a list what the token may not read, and answers as if all was well.

Consul 1.11 and later say so in a header, but not to clients without a token. Elsewhere the agent is asked what the
token may do, after the list and only where ACLs are on. Who may write everything below a prefix may read it. Who may
only read gets an answer for the prefix as a whole: what a rule forbids further below stays unknown.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from tenure.errors import PermissionDenied
from tenure.plugin_kit import Deadline
from tenure_consul.connection import Answer
from tenure_consul.errors import refused
from tenure_consul.pool import Pool

_HEADER = "X-Consul-Results-Filtered-By-ACLs"
_TELLS_SINCE = (1, 11)
_PATH = "/v1/internal/acl/authorize"


@dataclass(frozen=True, slots=True)
class Access:
    """What is known of an opened store: whether ACLs are on, and whether a list reports that it was filtered."""

    acls: bool
    reported: bool

    @classmethod
    def of(cls, version: str, *, acls: bool, token: bool) -> Access:
        """From the agent's version and settings, and whether the URL has a token."""
        match = re.match(r"(\d+)\.(\d+)", version)
        return cls(acls, token and match is not None and (int(match[1]), int(match[2])) >= _TELLS_SINCE)

    def check(self, pool: Pool, path: str, listed: Answer, *, action: str, deadline: Deadline) -> None:
        """Raise ``PermissionDenied`` if ``listed``, an answer for everything below ``path``, leaves something out."""
        if listed.headers.get(_HEADER, "") == "true":
            raise _denied(action, "a rule hides keys below the prefix")
        rights = [{"Resource": "key", "Access": access, "Segment": path} for access in ("write-prefix", "read")]
        if not self._allowed(pool, rights, action=action, deadline=deadline):
            raise _denied(action, "Consul leaves out what the token may not read")

    def check_sessions(self, pool: Pool, node: str, listed: Answer, *, action: str, deadline: Deadline) -> None:
        """Raise ``PermissionDenied`` if ``listed``, a list of sessions, leaves some out that are on ``node``."""
        rights = [{"Resource": "session", "Access": "read", "Segment": node}]
        if listed.headers.get(_HEADER, "") == "true" or not self._allowed(
            pool, rights, action=action, deadline=deadline
        ):
            raise PermissionDenied(
                f"{action}: the ACL token, or what is allowed without one, may not read all sessions, and Consul "
                "leaves out the others; grant session_prefix read"
            )

    def _allowed(self, pool: Pool, rights: list[dict[str, str]], *, action: str, deadline: Deadline) -> bool:
        """Whether the token has one of these rights, as far as the agent has to be asked and answers."""
        if self.reported or not self.acls:
            return True
        body, target = json.dumps(rights).encode(), pool.target(_PATH, read=True)
        answer = pool.call("POST", target, body, timeout=deadline.remaining(), action=action, allow=(404, 405))
        return answer.status != 200 or any(_verdicts(answer, action))


def _verdicts(answer: Answer, action: str) -> list[bool]:
    try:
        return [bool(right["Allow"]) for right in json.loads(answer.body)]
    except (ValueError, KeyError, TypeError) as exc:
        raise refused(answer.status, answer.body, action=action, where=answer.where, write=False) from exc


def _denied(action: str, cause: str) -> PermissionDenied:
    return PermissionDenied(
        f"{action}: the ACL token, or what is allowed without one, may not read all keys below the prefix: {cause}; "
        "grant key_prefix read below the option root"
    )
