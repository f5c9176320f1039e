"""Rules that kill no mutant and stay in the suite all the same, each with the reason in one line."""

from __future__ import annotations

STAYING: dict[str, str] = {}
