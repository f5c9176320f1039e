"""Looks at each host of a URL by itself: a store works while one of them is wrong, until it has to take another one."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tenure._runtime.deadline import Deadline, wall_clock
from tenure.errors import ConfigError, TenureError
from tenure.plugin_kit.endpoints import dial
from tenure.plugin_kit.resolver import Resolver
from tenure.plugin_kit.tls import TlsContext
from tenure.spi.diagnosis import Finding, Verdict
from tenure.spi.plugin import Host, Tls

_SOON = 21 * 86_400.0
"""Seconds before the end of a certificate at which it is time to renew it."""
_EACH = 2.0
"""Seconds for one host at most: one that is down must not take the time of the others."""


def examine_hosts(
    hosts: Iterable[Host],
    tls: Tls | None,
    deadline: Deadline,
    *,
    before_tls: Callable[[socket.socket], None] | None = None,
) -> tuple[Finding, ...]:
    """Connect to each host, and check that its certificate names it and lasts.

    Args:
        hosts: the hosts of the URL.
        tls: the URL's TLS settings; ``None`` tries the connection alone.
        deadline: for all hosts together.
        before_tls: what to say and hear on a new connection before TLS begins; may raise ``OSError``. Default: nothing.

    Returns:
        A finding for each host that is wrong, and one if all are right.
    """
    every = tuple(hosts)
    try:
        context = None if tls is None else TlsContext(tls).current()
    except ConfigError as exc:
        return (Finding("hosts", Verdict.FAILED, str(exc)),)
    upgrade = before_tls or (lambda _: None)
    problems = [finding for host in every for finding in _examine(host, context, upgrade, deadline)]
    if problems or not every:
        return tuple(problems)
    what = "answers" if tls is None else "answers, with a certificate of its name"
    which = f"{every[0]}" if len(every) == 1 else f"each of the {len(every)} hosts"
    return (Finding("hosts", Verdict.OK, f"{which} {what}"),)


def _examine(
    host: Host, context: ssl.SSLContext | None, upgrade: Callable[[socket.socket], None], deadline: Deadline
) -> Iterator[Finding]:
    limit = Deadline(deadline.within(_EACH))
    try:
        plain = dial(host, limit, resolver=Resolver())
    except (OSError, TenureError) as exc:
        yield Finding(
            "hosts",
            Verdict.WARNING,
            f"{host} can't be connected to: {_why(exc)}",
            "start it, or take it out of the URL: there is no failover to it now",
        )
        return
    with plain:
        if context is not None:
            yield from _certificate(host, plain, context, upgrade, limit)


def _certificate(
    host: Host,
    plain: socket.socket,
    context: ssl.SSLContext,
    upgrade: Callable[[socket.socket], None],
    limit: Deadline,
) -> Iterator[Finding]:
    try:
        upgrade(plain)
        with context.wrap_socket(plain, server_hostname=host.name) as connection:
            found = connection.getpeercert() or {}
    except ssl.SSLCertVerificationError as exc:
        yield Finding(
            "hosts",
            Verdict.FAILED,
            f"the certificate of {host} isn't accepted: {exc.verify_message}{_names(host, context, upgrade, limit)}",
            "give it a certificate for the name in the URL, or write the certificate's name into the URL; there is no "
            "failover to it now",
        )
        return
    except (OSError, ValueError) as exc:
        yield Finding("hosts", Verdict.WARNING, f"TLS with {host} failed: {_why(exc)}", "see the server's log")
        return
    ends = _end(found)
    if ends is not None and ends - wall_clock() < _SOON:
        day = time.strftime("%Y-%m-%d", time.gmtime(ends))
        text = f"the certificate of {host} ends on {day}"
        yield Finding("hosts", Verdict.WARNING, text, "renew it: Tenure's new connections use it at once")


def _names(host: Host, context: ssl.SSLContext, upgrade: Callable[[socket.socket], None], limit: Deadline) -> str:
    """The names in a certificate that is trusted and has another name; empty if it isn't that."""
    lenient = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    lenient.check_hostname = False
    trusted = [ssl.DER_cert_to_PEM_cert(each) for each in context.get_ca_certs(binary_form=True)]
    try:
        if trusted:
            lenient.load_verify_locations(cadata="\n".join(trusted))
        with dial(host, limit, resolver=Resolver()) as plain:
            upgrade(plain)
            with lenient.wrap_socket(plain) as connection:
                found = connection.getpeercert() or {}
    except (OSError, TenureError):
        return ""
    alternatives: Any = found.get("subjectAltName", ())
    names = [str(value) for _, value in alternatives]
    return f"; it names {', '.join(names) or 'nobody'}"


def _end(certificate: dict[str, Any]) -> float | None:
    ends = certificate.get("notAfter")
    return None if ends is None else float(ssl.cert_time_to_seconds(str(ends)))


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)
