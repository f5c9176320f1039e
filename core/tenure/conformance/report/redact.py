"""Keep secrets out of a report: replace the passwords and tokens of the URL in every text.

The errors of a store should not show a password, but reports are published, so the suite doesn't rely on that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, unquote

from tenure._plugins import discovery
from tenure._plugins import url as urls
from tenure._runtime.clock import SystemClock
from tenure.conformance.harness.verdicts import Verdict
from tenure.errors import TenureError
from tenure.spi import Secret

HIDDEN = "***"

_SHORT = 4
"""A shorter secret is replaced only as a whole word: inside other words it would destroy the text."""

_OURS = frozenset(
    {
        *("id", "area", "verdict", "checker", "conclusion", "format", "shared_with", "guarantee"),
        *("required_capabilities", "required_controls"),
        *("suite", "controls", "environment", "capabilities", "profile", "scheme"),
    }
)
"""Fields whose texts are the suite's own, or the machine's; a password that happens to be such a word stays unharmed
there."""

_NAMED_BY_OTHERS = frozenset({"details"})
"""Fields in which the names are the store's; all other names are the format's."""


def secrets_of(url: str) -> tuple[str, ...]:
    """Passwords and tokens in ``url``, as they are written there and as they are meant."""
    raw = urls.split(url)
    found = set()
    if raw.userinfo is not None:
        found.add(raw.userinfo.partition(":")[2])
    try:
        plugin = discovery.find(raw.scheme)
        request = urls.parse(url, plugin, timeout=1.0, clock=SystemClock())
    except TenureError:
        # No store was opened by this URL: every value that could be a secret counts as one.
        found.update(part.partition("=")[2] for part in raw.query.split("&"))
    else:
        values = [request.password, *request.options.values()]
        found.update(value.reveal() for value in values if isinstance(value, Secret))
    written = {form for secret in found for form in (secret, unquote(secret), quote(secret, safe=""), quote(secret))}
    return tuple(sorted((form for form in written if form), key=len, reverse=True))


class Redactor:
    """Replaces the secrets in texts and documents."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = [re.escape(form) if len(form) >= _SHORT else rf"(?<!\w){re.escape(form)}(?!\w)" for form in secrets]
        self._pattern = re.compile("|".join(forms)) if forms else None

    def text(self, text: str) -> str:
        """``text`` without the secrets."""
        return text if self._pattern is None else self._pattern.sub(HIDDEN, text)

    def document(self, value: Any, field: str = "") -> Any:
        """Return a copy of a JSON document with the secrets replaced in every text."""
        if self._pattern is None or field in _OURS:
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            theirs = field in _NAMED_BY_OTHERS
            return {
                self.text(name) if theirs else name: part if _is_our_text(name, value) else self.document(part, name)
                for name, part in value.items()
            }
        if isinstance(value, list | tuple):
            return [self.document(part, field) for part in value]
        return value


def _is_our_text(field: str, value: Mapping[str, Any]) -> bool:
    """Return whether it is the reason why a rule doesn't apply, which is known before any call to the store."""
    return field == "reason" and value.get("verdict") == Verdict.NOT_SUPPORTED
