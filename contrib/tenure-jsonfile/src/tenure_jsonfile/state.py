"""What the file holds, and what a transaction does to it. Nothing in here touches a disk.

Deadlines of leases are on a clock that starts again with the machine, so the file also names the boot that they
belong to. After another boot every lease has ended: its holder can't have survived.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tenure.errors import Conflict, LeaseNotFound
from tenure.plugin_kit import next_revision
from tenure.spi import CommitResult, Delete, KeyAbsent, KeyExists, KeyValue, Put, RevisionEquals, Transaction

FORMAT = 1


def this_boot() -> str:
    """A name for the time since the machine started."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


@dataclass(slots=True)
class Lease:
    ttl: float
    deadline: float


@dataclass(slots=True)
class State:
    """Everything in the store. ``changed`` says whether it differs from what the file has."""

    boot: str
    revision: int = 0
    keys: dict[str, KeyValue] = field(default_factory=dict)
    leases: dict[str, Lease] = field(default_factory=dict)
    changed: bool = False

    def overdue(self, now: float) -> list[str]:
        """Leases that have ended, the earliest first."""
        ended = (name for name, lease in self.leases.items() if lease.deadline <= now)
        return sorted(ended, key=lambda name: self.leases[name].deadline)

    def end_lease(self, lease_id: str) -> bool:
        """End one lease: one revision, if it has keys. Answers whether it was alive."""
        if self.leases.pop(lease_id, None) is None:
            return False
        self.changed = True
        owned = [key for key, item in self.keys.items() if item.lease_id == lease_id]
        if owned:
            self.revision = next_revision(self.revision)
        for key in owned:
            del self.keys[key]
        return True

    def commit(self, transaction: Transaction) -> CommitResult:
        """Apply a transaction; whatever is raised, nothing has changed."""
        for precondition in transaction.preconditions:
            item = self.keys.get(precondition.key)
            match precondition:
                case KeyAbsent() if item is not None:
                    problem = "exists"
                case KeyExists() | RevisionEquals() if item is None:
                    problem = "doesn't exist"
                case RevisionEquals() if item is not None and item.mod_revision != precondition.revision:
                    problem = f"is at revision {item.mod_revision}, not {precondition.revision}"
                case _:
                    continue
            raise Conflict(f"{problem}; nothing was changed", keys=[precondition.key], revision=self.revision)
        for operation in transaction.operations:
            lease_id = operation.lease_id if isinstance(operation, Put) else None
            if lease_id is not None and lease_id not in self.leases:
                raise LeaseNotFound(f"no lease {lease_id!r} is alive; nothing was changed")
        revision = next_revision(self.revision)
        deleted = 0
        for operation in transaction.operations:
            old = self.keys.get(operation.key)
            if isinstance(operation, Delete):
                deleted += self.keys.pop(operation.key, None) is not None
                continue
            created = revision if old is None else old.create_revision
            self.keys[operation.key] = KeyValue(operation.key, operation.value, created, revision, operation.lease_id)
        if deleted or any(isinstance(operation, Put) for operation in transaction.operations):
            self.revision = revision
            self.changed = True
        return CommitResult(self.revision, deleted)


def dump(state: State) -> bytes:
    """The file's text. Values that are text are written as text, so that people can read them."""
    document = {
        "format": FORMAT,
        "revision": state.revision,
        "boot": state.boot,
        "leases": {name: {"ttl": lease.ttl, "deadline": lease.deadline} for name, lease in state.leases.items()},
        "keys": {key: _dump_item(state.keys[key]) for key in sorted(state.keys)},
    }
    return json.dumps(document, ensure_ascii=False, indent=1).encode()


def load(text: bytes, boot: str) -> State:
    """The state in the file. Raises ``ValueError``, ``KeyError`` or ``TypeError`` for what ``dump`` didn't write."""
    document = json.loads(text)
    if document["format"] != FORMAT:
        raise ValueError(f"its format is {document['format']!r}, this version of tenure-jsonfile knows {FORMAT}")
    same_boot = document["boot"] == boot
    return State(
        boot=boot,
        revision=int(document["revision"]),
        keys={key: _load_item(key, item) for key, item in document["keys"].items()},
        leases={
            name: Lease(float(lease["ttl"]), float(lease["deadline"]) if same_boot else float("-inf"))
            for name, lease in document["leases"].items()
        },
    )


def _dump_item(item: KeyValue) -> dict[str, Any]:
    try:
        value = {"text": item.value.decode()}
    except UnicodeDecodeError:
        value = {"base64": base64.b64encode(item.value).decode()}
    owner = {} if item.lease_id is None else {"lease": item.lease_id}
    return {**value, "created": item.create_revision, "modified": item.mod_revision, **owner}


def _load_item(key: str, item: dict[str, Any]) -> KeyValue:
    value = item["text"].encode() if "text" in item else base64.b64decode(item["base64"], validate=True)
    return KeyValue(key, value, int(item["created"]), int(item["modified"]), item.get("lease"))
