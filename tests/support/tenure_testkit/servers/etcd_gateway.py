"""etcd's JSON gateway by urllib: a second opinion on what is in the server, independent of the code under test."""

import base64
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any, cast


class GatewayError(Exception):
    """The server answered with an error (`status` is the HTTP status) or not at all (`status` is None)."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Gateway:
    """Calls on one endpoint, each with a time limit. Nothing is retried."""

    def __init__(
        self,
        endpoint: str,
        *,
        password: str | None = None,
        tls: ssl.SSLContext | None = None,
        timeout: float = 5.0,
    ) -> None:
        self._endpoint = endpoint
        self._password = password
        self._timeout = timeout
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        if tls is not None:
            handlers.append(urllib.request.HTTPSHandler(context=tls))
        self._opener = urllib.request.build_opener(*handlers)

    def call(self, path: str, body: Mapping[str, Any] | None = None, *, token: str | None = None) -> dict[str, Any]:
        """POST `body` to `path` and return the answer. Bytes inside `body` must be base64 text already."""
        headers = {"Content-Type": "application/json"}
        if token is not None:
            headers["Authorization"] = token
        data = json.dumps(body or {}).encode()
        return self._open(urllib.request.Request(self._endpoint + path, data=data, headers=headers))

    def healthy(self, timeout: float = 1.0) -> bool:
        """Whether a linearizable read works through this endpoint now."""
        try:
            answer = self._open(urllib.request.Request(self._endpoint + "/health"), timeout)
        except GatewayError:
            return False
        return answer.get("health") == "true"

    def version(self) -> str:
        """The server's version, such as `3.5.16`."""
        return str(self._open(urllib.request.Request(self._endpoint + "/version"))["etcdserver"])

    def status(self) -> dict[str, Any]:
        """The server's own account of itself: member, leader, revision, size of its file."""
        return self._authorised("/v3/maintenance/status", {})

    def revision(self) -> int:
        """The store's revision, by a linearizable read."""
        answer = self._authorised("/v3/kv/range", {"key": _text(b"\0"), "count_only": True})
        return int(answer["header"]["revision"])

    def put(self, key: str | bytes, value: bytes, lease: int = 0) -> int:
        """Write a key; returns the revision."""
        body = {"key": _text(key), "value": _text(value), "lease": str(lease)}
        return int(self._authorised("/v3/kv/put", body)["header"]["revision"])

    def get(self, key: str | bytes) -> bytes | None:
        """A key's value, or None where there is no such key."""
        found = self._authorised("/v3/kv/range", {"key": _text(key)}).get("kvs", [])
        return _bytes(found[0].get("value", "")) if found else None

    def items(self, prefix: str | bytes = b"") -> dict[bytes, bytes]:
        """Everything below a prefix (the whole store without one), in key order."""
        start = prefix.encode() if isinstance(prefix, str) else prefix
        body = {"key": _text(start or b"\0"), "range_end": _text(_end_of(start))}
        found = self._authorised("/v3/kv/range", body).get("kvs", [])
        return {_bytes(item["key"]): _bytes(item.get("value", "")) for item in found}

    def delete(self, key: str | bytes) -> int:
        """Delete a key; returns how many keys went, 0 or 1."""
        return int(self._authorised("/v3/kv/deleterange", {"key": _text(key)}).get("deleted", 0))

    def compact(self, revision: int | None = None) -> int:
        """Forget everything before `revision` (the present one by default), and only then return it."""
        revision = self.revision() if revision is None else revision
        self._authorised("/v3/kv/compaction", {"revision": str(revision), "physical": True})
        return revision

    def leases(self) -> list[int]:
        """The leases that are alive."""
        return [int(item["ID"]) for item in self._authorised("/v3/lease/leases", {}).get("leases", [])]

    def revoke(self, lease: int) -> None:
        """End a lease, as an operator would."""
        self._authorised("/v3/lease/revoke", {"ID": str(lease)})

    def move_leader(self, member: int) -> None:
        """Hand leadership to another member; this endpoint must be the leader's."""
        self._authorised("/v3/maintenance/transfer-leadership", {"targetID": str(member)})

    def add_user(self, name: str, password: str, *, role: str | None = None) -> None:
        """Add a user and, if named, give it an existing role."""
        self._authorised("/v3/auth/user/add", {"name": name, "password": password})
        if role is not None:
            self._authorised("/v3/auth/user/grant", {"user": name, "role": role})

    def grant_role(self, name: str, role: str) -> None:
        """Give a user a role."""
        self._authorised("/v3/auth/user/grant", {"user": name, "role": role})

    def revoke_role(self, name: str, role: str) -> None:
        """Take a role from a user. A watch that is open stays open."""
        self._authorised("/v3/auth/user/revoke", {"name": name, "role": role})

    def change_password(self, name: str, password: str) -> None:
        """Give a user another password. Tokens that etcd gave before end."""
        self._authorised("/v3/auth/user/changepw", {"name": name, "password": password})

    def add_role(self, name: str, prefix: str | bytes, permission: str = "READWRITE") -> None:
        """Add a role that may READ, WRITE or READWRITE what is below a prefix."""
        start = prefix.encode() if isinstance(prefix, str) else prefix
        self._authorised("/v3/auth/role/add", {"name": name})
        grant = {"permType": permission, "key": _text(start or b"\0"), "range_end": _text(_end_of(start))}
        self._authorised("/v3/auth/role/grant", {"name": name, "perm": grant})

    def enable_auth(self, password: str) -> None:
        """Make the user root with this password, and refuse everybody without one from now on."""
        self.call("/v3/auth/user/add", {"name": "root", "password": password})
        self.call("/v3/auth/role/add", {"name": "root"})
        self.call("/v3/auth/user/grant", {"user": "root", "role": "root"})
        self.call("/v3/auth/enable")

    def _authorised(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        # A token for each call: they expire, and speed is no matter here.
        token = None
        if self._password is not None:
            login = self.call("/v3/auth/authenticate", {"name": "root", "password": self._password})
            token = str(login["token"])
        return self.call(path, body, token=token)

    def _open(self, request: urllib.request.Request, timeout: float | None = None) -> dict[str, Any]:
        try:
            with self._opener.open(request, timeout=timeout or self._timeout) as answer:
                return cast("dict[str, Any]", json.load(answer))
        except urllib.error.HTTPError as exc:
            with exc:
                raise GatewayError(exc.read().decode(errors="replace"), exc.code) from None
        except (OSError, ValueError, EOFError) as exc:
            raise GatewayError(f"{request.full_url}: {exc}") from exc


def _text(data: str | bytes) -> str:
    return base64.b64encode(data.encode() if isinstance(data, str) else data).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text)


def _end_of(prefix: bytes) -> bytes:
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes([stem[-1] + 1]) if stem else b"\0"
