"""What a person sets for the own browser: whether values are shown, the theme, and leaving."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from tenure_console.pages.site import address
from tenure_console.web.guard import form_of, session_of

_THEMES = ("auto", "light", "dark")


def preferences(request: Request) -> Response:
    """Take what the form sets, and return to the page that it was on."""
    form, session = form_of(request), session_of(request)
    if "values" in form:
        session.values = form["values"] == "show"
    if form.get("theme") in _THEMES:
        session.theme = form["theme"]
    return RedirectResponse(_return(request, form.get("back", "")), status_code=303)


def _return(request: Request, given: str) -> str:
    """Return the address to go back to: a path of this console, whatever the form says."""
    root = request.scope.get("root_path", "") + "/"
    parts = urlsplit(given)
    fine = not parts.scheme and not parts.netloc and given.startswith(root) and not given.startswith(("//", "/\\"))
    return given if fine and given.isprintable() else address(request, "")
