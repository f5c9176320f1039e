"""The gate before all pages: it checks the host, the session and the form, and adds the headers that bind the browser.

Nothing behind it runs for a request that it refuses. Order: Host header, session (or token, or the application's own
check), then for a POST the origin and the form's key. The style sheet and scripts have nothing to hide and need no
session.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Collection
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tenure_console.looks.text import plain
from tenure_console.web.sessions import Session, Sessions

MOST_SENT = 1536 * 1024
"""Bytes of a request's body."""
LOCAL = ("127.0.0.1", "localhost", "[::1]")

Allow = Callable[[Request], str | bool | Awaitable[str | bool | None] | None]
"""An application's own check of a request: returns who the person is, or whether they may look."""

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Not no-referrer: with it, browsers say that a form's origin is null.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}
_REFUSED_HOST = (
    "This address is not one that the console answers to. Open the address that `tenure console` printed, or start it "
    "with --host-name for this one."
)
_NO_SESSION = (
    "Open the link that `tenure console` printed last. A link lets one browser in, once; then the next one is printed."
)
_USED = "This link was used already, or is of a console that has ended. "
_NOT_ALLOWED = "The application that this console is part of doesn't let you in."
_STALE_FORM = "The form is not one of this console's pages, or the session ended. Load the page again, then repeat it."


class Guard:
    """ASGI middleware. ``refuse`` makes the page that says why a request was refused.

    Args:
        app: what is guarded.
        sessions: tokens and sessions.
        hosts: names that a Host header may have, without a port.
        allow: the application's check; ``None`` if tokens let people in.
        refuse: makes a response of a request, a status, a heading and a sentence.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        sessions: Sessions,
        hosts: Collection[str],
        allow: Allow | None,
        refuse: Callable[[Request, int, str, str], Response],
    ) -> None:
        self._app, self._sessions, self._allow, self._refuse = app, sessions, allow, refuse
        self._hosts = {_bracketed(host.lower()) for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def bound(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                if (cookie := scope.get("tenure_console.cookie")) is not None:
                    headers.append("set-cookie", cookie)
            await send(message)

        response = await self._check(scope, receive)
        await (self._app if response is None else response)(scope, receive, bound)

    async def _check(self, scope: Scope, receive: Receive) -> Response | None:
        """Return the refusal, or ``None`` and put the session and the form into the scope."""
        request = Request(scope, receive)
        if _host(request.headers) not in self._hosts:
            return self._refuse(request, 421, "Not this address", _REFUSED_HOST)
        path = _path(scope)
        if path.startswith("/static/"):
            return None
        session = await self._session(request, path)
        if session is None:
            reason = _NO_SESSION if self._allow is None else _NOT_ALLOWED
            if self._allow is None and path == "/enter":
                reason = _USED + reason
            return self._refuse(request, 403, "Nothing is shown without a session", reason)
        scope["tenure_console.session"] = session
        scope["tenure_console.form_key"] = self._sessions.form_key(session)
        if path == "/enter":
            return RedirectResponse(f"{scope.get('root_path', '')}/", status_code=303)
        if request.method in ("GET", "HEAD"):
            return None
        return await self._check_form(request, session)

    async def _session(self, request: Request, path: str) -> Session | None:
        number = _cookies(request.headers).get(self._sessions.cookie, "")
        session = self._sessions.find(number)
        if self._allow is not None:
            answer = self._allow(request)
            allowed = await answer if inspect.isawaitable(answer) else answer
            if not allowed:
                return None
            person = allowed if isinstance(allowed, str) else ""
            if session is None or session.person != person:
                session = self._sessions.open(person)
                self._give(request, session)
            return session
        if path == "/enter" and request.method == "GET":
            entered = self._sessions.enter(request.query_params.get("token", ""))
            if entered is not None:
                self._give(request, entered)
                return entered
        return session

    def _give(self, request: Request, session: Session) -> None:
        secure = "; Secure" if request.url.scheme == "https" else ""
        path = request.scope.get("root_path", "") or "/"
        request.scope["tenure_console.cookie"] = (
            f"{self._sessions.cookie}={session.number}; HttpOnly; SameSite=Strict; Path={path}{secure}"
        )

    async def _check_form(self, request: Request, session: Session) -> Response | None:
        if not _same_origin(request):
            return self._refuse(request, 403, "Not changed", _STALE_FORM)
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > MOST_SENT:
                return self._refuse(request, 413, "Not changed", f"The form is larger than {MOST_SENT:,} bytes.")
        try:
            fields = parse_qs(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=50)
        except ValueError:
            return self._refuse(request, 400, "Not changed", "The form can't be read. Load the page again.")
        form = {name: values[-1] for name, values in fields.items()}
        if not self._sessions.is_form_key(session, form.get("form_key", "")):
            return self._refuse(request, 403, "Not changed", _STALE_FORM)
        request.scope["tenure_console.form"] = form
        return None


def session_of(request: Request) -> Session:
    """Return the session of a request that the guard has let through."""
    session = request.scope["tenure_console.session"]
    assert isinstance(session, Session)
    return session


def form_of(request: Request) -> dict[str, str]:
    """Return the fields of a form that the guard has let through."""
    form = request.scope["tenure_console.form"]
    assert isinstance(form, dict)
    return form


def _path(scope: Scope) -> str:
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    return path[len(root) :] if root and path.startswith(root) else path


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _host(headers: Headers) -> str:
    """Return the Host header without its port, in lower case; empty if there isn't exactly one."""
    found = headers.getlist("host")
    if len(found) != 1:
        return ""
    host = found[0].lower()
    return host[: host.index("]") + 1] if host.startswith("[") and "]" in host else host.partition(":")[0]


def _same_origin(request: Request) -> bool:
    """Return whether a page of this console sent the form, as far as the browser says."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = request.headers.get("origin")
    return origin is None or urlsplit(plain(origin)).netloc.lower() == request.headers["host"].lower()


def _cookies(headers: Headers) -> dict[str, str]:
    try:
        return {name: morsel.value for name, morsel in SimpleCookie(headers.get("cookie", "")).items()}
    except CookieError:
        return {}
