"""Namespaces that no other test uses, on servers that all share."""

import uuid
from urllib.parse import urlsplit, urlunsplit


def own_namespace(url: str) -> str:
    """This URL of a store, with a new namespace at the end of its path."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/t-{uuid.uuid4().hex}"))
