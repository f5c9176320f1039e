"""What failed, in Tenure's terms: connections that break, and answers that aren't the asked-for ones.

For a write, "surely not applied" is said only where the agent says so: it had no leader to send it to, or refused
it before. Any other trouble inside Consul (a leader that stepped down, a connection between servers that broke) may
have come after the write was in the log.
"""

from __future__ import annotations

import json
import re
import ssl

from tenure.errors import (
    AuthenticationFailed,
    ConfigError,
    DeadlineExceeded,
    LimitExceeded,
    PermissionDenied,
    StoreFull,
    TenureError,
    Unavailable,
    Unsupported,
)
from tenure.plugin_kit import ErrorTable, Row, shorten
from tenure_consul.connection import Answer

# The leader could not put it into its log, and then passes it to nobody. A failed sync would be told without "write".
_FULL = re.compile(r"write \S*raft\.db: no space left on device")
_OF_A_PROXY = frozenset({407, 408, 421, 425, 451})
_UNKNOWN_TOKEN = ("ACL not found", "token does not exist", "Unknown token")

ERRORS = ErrorTable(
    "Consul",
    [
        Row("Invalid Session TTL", LimitExceeded, "Consul's settings don't allow this TTL"),
        Row(
            lambda said: _FULL.search(said) is not None,
            StoreFull,
            "the disk of Consul's leader is full, and it takes no writes: make room there",
        ),
        Row("No cluster leader", Unavailable, "the cluster has no leader now"),
        Row("node is not the leader", Unavailable, "the cluster is changing its leader"),
        Row("timed out enqueuing operation", Unavailable, "the leader has more to do than it can take"),
        Row("rpc error getting client", Unavailable, "the agent can't reach the server it wants to ask"),
        Row("Missing node registration", Unavailable, "the agent hasn't registered its node yet"),
        Row("rate limit", Unavailable, "the agent limits how many requests it takes"),
        Row("HTTP request to an HTTPS server", Unavailable, "that port wants TLS: write consul+tls://"),
        Row("No path to datacenter", Unavailable, "the datacenter (option dc) isn't known or can't be reached"),
    ],
)
"""What Consul says in words; each of these means that nothing was applied."""


def refused(status: int, body: bytes, *, action: str, where: object, write: bool) -> TenureError:
    """The error for an answer with a status that isn't success."""
    text = body.decode(errors="replace")
    said = shorten(text)
    told = f"({where} said: {status} {said})"
    if status in (401, 403) or "Permission denied" in said or any(text in said for text in _UNKNOWN_TOKEN):
        return denied(said, action=action, told=told)
    if ERRORS.find(text) is not None:
        return ERRORS.refusal(f"{status} {said}", action=action, where=where, write=write)
    if status == 413 or (status == 400 and ("too large" in said or "exceeds" in said)):
        return LimitExceeded(f"{action}: more than this Consul takes in one request {told}")
    if status == 429:
        return Unavailable(
            f"{action}: the agent limits how many requests it takes, or connections from one address "
            f"(http_max_conns_per_client); watches hold one for each prefix {told}"
        )
    if not write and (300 <= status < 400 or status in _OF_A_PROXY):
        return Unavailable(f"{action}: something between answered in Consul's place; check proxies on the way {told}")
    if write or status >= 500:
        return ERRORS.refusal(f"{status} {said}", action=action, where=where, write=write)
    return Unsupported(
        f"{action}: what answers isn't Consul 1.7 or later, or something between changes requests {told}"
    )


def refused_operations(answer: Answer, *, action: str, write: bool) -> list[tuple[int, str]]:
    """Which operations of a transaction failed, with Consul's words for each."""
    try:
        return [(int(error["OpIndex"]), str(error["What"])) for error in json.loads(answer.body)["Errors"]]
    except (ValueError, KeyError, TypeError) as exc:
        # Another's 409, such as a proxy's: nothing was applied, and it isn't known why.
        raise refused(answer.status, answer.body, action=action, where=answer.where, write=write) from exc


def is_unknown_token(body: bytes) -> bool:
    """Whether a request was refused because Consul doesn't know its token, or no longer does."""
    said = body.decode(errors="replace")
    return any(text in said for text in _UNKNOWN_TOKEN)


def is_denied(what: str) -> bool:
    """Whether an operation failed because of the token."""
    return "Permission denied" in what or "ACL not found" in what


def denied(said: str, *, action: str, told: str) -> TenureError:
    """The error for a token that isn't known, or that may not do this."""
    if any(text in said for text in _UNKNOWN_TOKEN):
        return AuthenticationFailed(f"{action}: Consul doesn't know this ACL token {told}")
    if "ACL support disabled" in said:
        return ConfigError(f"{action}: this Consul has no ACLs switched on: leave out the token {told}")
    return PermissionDenied(
        f"{action}: the ACL token, or what is allowed without one, lacks a right; needed are key_prefix write below "
        f"the option root and session_prefix write. The token goes into the URL, as in consul://:TOKEN@host {told}"
    )


def cannot_connect(exc: Exception, where: object, *, encrypted: bool) -> TenureError:
    """The error for a connection that could not be made, with what to check. Nothing was sent."""
    said = str(exc) or type(exc).__name__
    lowered = said.lower()
    if isinstance(exc, ssl.SSLError):
        if "certificate" in lowered or "hostname" in lowered:
            hint = "the TLS certificates don't match: check the options ca, cert and key, and the host's name"
        else:
            hint = "the TLS handshake failed: does that port speak TLS (Consul's ports.https, often 8501)?"
    elif isinstance(exc, TimeoutError) or "timed out" in lowered or "unreachable" in lowered:
        hint = "no answer from that address; check the address, the network and firewalls"
        return DeadlineExceeded(f"can't connect to Consul at {where}: {hint} ({shorten(said)})")
    elif "refused" in lowered:
        hint = "nothing listens there; is the agent running, and is the port right (usually 8500)?"
    elif "name or service" in lowered or "resolution" in lowered or "nodename" in lowered or "no address" in lowered:
        hint = "there is no host of that name"
    elif "reset" in lowered or "closed" in lowered:
        hint = "it closed the connection" + ("" if encrypted else "; if it wants TLS, write consul+tls://")
    else:
        hint = "the connection failed"
    return Unavailable(f"can't connect to Consul at {where}: {hint} ({shorten(said)})")
