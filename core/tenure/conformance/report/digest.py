"""The digest of a report: a hash over all of it, which detects damage and careless edits.

A digest is no signature: the author of a forged report can compute a new one. Forging histories in which the checkers
find no problem is harder. That is why a report contains its histories, and why verifying it checks them again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

FIELD = "digest"


def digest_of(document: Mapping[str, Any]) -> str:
    """Return the digest over everything but the digest itself, whatever the layout of the document."""
    content = {name: value for name, value in document.items() if name != FIELD}
    return "sha256:" + hashlib.sha256(canonical(content).encode()).hexdigest()


def canonical(value: object) -> str:
    """Return the one text of a JSON value. Raises ``ValueError`` for a value outside JSON, such as NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
