"""The seal of a report: a digest over all of it, which catches damage and careless edits.

It is no signature. Who edits a report on purpose can seal it again; what he can't do as easily is make up histories
that the judges find nothing wrong in, and that is why those are in the report and are judged again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

FIELD = "seal"


def seal_of(document: Mapping[str, Any]) -> str:
    """The digest over everything but the seal itself, however the document is laid out."""
    content = {name: value for name, value in document.items() if name != FIELD}
    return "sha256:" + hashlib.sha256(canonical(content).encode()).hexdigest()


def canonical(value: object) -> str:
    """One text for one JSON value. Raises ``ValueError`` for what JSON has no words for, such as NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
