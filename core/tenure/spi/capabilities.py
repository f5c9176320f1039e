"""What an opened store declares about itself: promises it keeps and limits it has.

Declared per *opened* connection, since the same product differs by version and settings. The conformance
suite fails a promise that isn't kept, and probes that what isn't promised is refused with ``Unsupported``
instead of being half done. ``connect(url, require=[...])`` refuses a store that falls short.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, get_type_hints

from tenure.errors import ConfigError, Unsupported


@dataclass(frozen=True, slots=True)
class Guarantee:
    """Annotation of a promise: kept or not. The text completes the sentence "the store ..."."""

    text: str


@dataclass(frozen=True, slots=True)
class Limit:
    """Annotation of a limit: its unit, and what it bounds."""

    unit: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """Promises (``bool``) and limits (numbers) of one opened store. Every field has to be given."""

    # promises
    durable: Annotated[bool, Guarantee("keeps acknowledged writes when its process is killed and started again")]
    linearizable: Annotated[bool, Guarantee("answers every read with the latest acknowledged write, whoever made it")]
    multi_process: Annotated[bool, Guarantee("is seen by other processes")]
    consistent_list: Annotated[bool, Guarantee("lists a prefix as it was at one point in time")]
    consistent_pagination: Annotated[bool, Guarantee("reads later pages of a list at the revision of the first")]
    lossless_watch: Annotated[
        bool, Guarantee("shows a watcher every revision, whole transactions, and resumes after a revision")
    ]
    list_leases: Annotated[bool, Guarantee("can list its leases and their keys")]

    # limits
    max_value_bytes: Annotated[int, Limit("bytes", "largest value of one key")]
    max_transaction_operations: Annotated[
        int, Limit("operations", "most preconditions, puts and deletes of a transaction together")
    ]
    max_transaction_leases: Annotated[int, Limit("leases", "most different leases that one transaction puts keys on")]
    max_transaction_bytes: Annotated[int, Limit("bytes", "largest sum of keys and values of a transaction")]
    min_ttl: Annotated[float, Limit("seconds", "shortest ttl of a lease; a shorter one is raised to it")]
    max_ttl: Annotated[float, Limit("seconds", "longest ttl of a lease; a longer one is refused")]
    ttl_granularity: Annotated[float, Limit("seconds", "ttls are rounded up to a multiple of this")]
    expiry_factor: Annotated[float, Limit("ratio", "a lease left alone ends no later than ttl x this + expiry_slack")]
    expiry_slack: Annotated[float, Limit("seconds", "a lease left alone ends no later than ttl x expiry_factor + this")]
    max_watch_latency: Annotated[
        float, Limit("seconds", "a watcher sees a commit within this time on an idle, healthy store")
    ]
    max_watch_failure_detection: Annotated[
        float, Limit("seconds", "a watch notices within this time that its server is gone or frozen")
    ]

    def max_lifetime_after_refresh(self, ttl: float) -> float:
        """Longest time in seconds that keys may outlive the last refresh of a lease with this effective ttl."""
        return ttl * self.expiry_factor + self.expiry_slack

    def as_dict(self) -> dict[str, bool | int | float]:
        """Field name to value, in declaration order."""
        return dataclasses.asdict(self)

    def require(self, requirements: Iterable[str], *, store: str) -> None:
        """Check requirements such as ``"durable"``, ``"max_value_bytes>=1000000"`` or ``"min_ttl<=5"``.

        Raises ``Unsupported`` that names every requirement ``store`` misses, ``ConfigError`` for one that
        can't be understood.
        """
        missed = [text for text in requirements if not self._meets(text)]
        if missed:
            have = ", ".join(f"{t} (declares {self._declared(t)})" for t in missed)
            raise Unsupported(f"{store} falls short of what connect(require=...) asks for: {have}")

    def _meets(self, text: str) -> bool:
        name, operator, bound = self._parse(text)
        value = getattr(self, name)
        if not operator:
            return bool(value)
        return bool(value >= bound if operator == ">=" else value <= bound)

    def _declared(self, text: str) -> str:
        return repr(getattr(self, self._parse(text)[0]))

    @staticmethod
    def _parse(text: str) -> tuple[str, str, float]:
        """Split ``"name>=bound"``; the operator is empty for a promise."""
        match = re.fullmatch(r"\s*(\w+)\s*(?:(>=|<=)\s*(\d+(?:\.\d+)?))?\s*", text)
        notes = field_notes()
        if match is None or match[1] not in notes:
            promises = ", ".join(name for name, note in notes.items() if isinstance(note, Guarantee))
            limits = ", ".join(name for name, note in notes.items() if isinstance(note, Limit))
            raise ConfigError(
                f"cannot understand the requirement {text!r}: give a promise ({promises}) "
                f"or a limit with a bound, such as 'max_value_bytes>=1000000' ({limits})"
            )
        name, operator, bound = match[1], match[2] or "", float(match[3] or 0)
        if isinstance(notes[name], Guarantee) and operator:
            raise ConfigError(f"the requirement {text!r} takes no bound: {name} is a promise, kept or not")
        if isinstance(notes[name], Limit) and not operator:
            raise ConfigError(f"the requirement {text!r} needs a bound, such as '{name}>=1' or '{name}<=1'")
        return name, operator, bound


@functools.cache
def field_notes() -> dict[str, Guarantee | Limit]:
    """What each field of :class:`Capabilities` means, for documentation, ``doctor`` and error messages."""
    hints = get_type_hints(Capabilities, include_extras=True)
    return {field.name: hints[field.name].__metadata__[0] for field in dataclasses.fields(Capabilities)}
