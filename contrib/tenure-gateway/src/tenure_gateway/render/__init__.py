"""``tenure render``: configuration files from a registry and from keys."""
