"""What the suite notes on a test while it runs, for the plugin and the results that it collects."""

from __future__ import annotations

import pytest

OPENING = pytest.StashKey[bool]()
"""Set on a test from when the suite opens its store: what goes wrong before that isn't the store's doing."""
SKIP_REASON = pytest.StashKey[str]()
"""Why the suite itself left a test out."""
