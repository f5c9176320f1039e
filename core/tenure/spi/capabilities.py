"""What an opened store declares: the guarantees that it keeps, and its limits.

A plugin declares capabilities per *opened* connection, since the same product differs by version and settings. The
conformance suite fails a guarantee that isn't kept. It also probes that whatever isn't declared is refused with
``Unsupported`` instead of being half done. ``connect(url, require=[...])`` refuses a store that falls short.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from inspect import cleandoc
from typing import Annotated, get_type_hints

from tenure.errors import ConfigError, Unsupported


@dataclass(frozen=True, slots=True)
class Guarantee:
    """Annotation of a guarantee, a ``bool`` field of :class:`Capabilities`.

    Attributes:
        text: completes the sentence "the store ...".
    """

    text: str


@dataclass(frozen=True, slots=True)
class Limit:
    """Annotation of a limit, a number field of :class:`Capabilities`.

    Attributes:
        unit: ``"bytes"``, ``"seconds"``, ``"operations"``, ``"leases"`` or ``"ratio"``.
        text: what the number bounds.
    """

    unit: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """The guarantees (``bool``) and limits (numbers) of one opened store. Constant while the store is open.

    A guarantee that is not declared is not given: what needs it raises ``Unsupported``. Guarantees are ``False`` by
    default, and those that later versions add are so too. A limit has no default: each store gives its own.

    >>> import tenure
    >>> with tenure.connect("memory://", require=["linearizable", "min_ttl<=5"]) as store:
    ...     store.capabilities.durable, store.capabilities.multi_process
    (False, False)
    """

    # guarantees
    durable: Annotated[bool, Guarantee("keeps acknowledged writes when its process is killed and started again")] = (
        False
    )
    linearizable: Annotated[bool, Guarantee("answers every read with the latest acknowledged write of any client")] = (
        False
    )
    multi_process: Annotated[bool, Guarantee("is seen by other processes")] = False
    consistent_list: Annotated[bool, Guarantee("lists a prefix as it was at one point in time")] = False
    consistent_pagination: Annotated[bool, Guarantee("reads later pages of a list at the revision of the first")] = (
        False
    )
    lossless_watch: Annotated[
        bool, Guarantee("shows a watcher every revision, whole transactions, and resumes after a revision")
    ] = False
    list_leases: Annotated[bool, Guarantee("can list its leases and their keys")] = False
    unique_revisions: Annotated[
        bool, Guarantee("uses no revision twice, also after its data were lost or replaced by a backup")
    ] = False
    multi_get: Annotated[bool, Guarantee("reads several keys at one revision by one request")] = False
    prefix_delete: Annotated[bool, Guarantee("deletes the keys of a prefix by one request, as one transaction")] = False

    # limits
    max_value_bytes: Annotated[int, Limit("bytes", "largest value of one key")]
    max_transaction_operations: Annotated[
        int, Limit("operations", "most preconditions, puts and deletes of a transaction together")
    ]
    max_transaction_leases: Annotated[int, Limit("leases", "most different leases that one transaction puts keys on")]
    max_transaction_bytes: Annotated[int, Limit("bytes", "largest sum of keys and values of a transaction")]
    min_ttl: Annotated[float, Limit("seconds", "shortest TTL of a lease; a shorter one is raised to it")]
    max_ttl: Annotated[float, Limit("seconds", "longest TTL of a lease; a longer one is refused")]
    ttl_granularity: Annotated[float, Limit("seconds", "TTLs are rounded up to a multiple of this")]
    expiry_factor: Annotated[
        float, Limit("ratio", "a lease that is not refreshed expires within TTL x this + expiry_slack")
    ]
    expiry_slack: Annotated[
        float, Limit("seconds", "a lease that is not refreshed expires within TTL x expiry_factor + this")
    ]
    max_watch_latency: Annotated[
        float, Limit("seconds", "a watcher sees a commit within this time on an idle, healthy store")
    ]
    max_watch_failure_detection: Annotated[
        float, Limit("seconds", "a watch notices within this time that its server is gone or frozen")
    ]

    def max_lifetime_after_refresh(self, ttl: float) -> float:
        """Bound how long a lease's keys may exist after the lease's last refresh.

        Args:
            ttl: the lease's effective TTL in seconds.

        Returns:
            Seconds after the last refresh, or the grant, within which the store removes the keys.
        """
        return ttl * self.expiry_factor + self.expiry_slack

    def as_dict(self) -> dict[str, bool | int | float]:
        """Return the fields as plain data, for logs and JSON.

        Returns:
            Field name to value, in declaration order.
        """
        return dataclasses.asdict(self)

    def require(self, requirements: Iterable[str], *, store: str) -> None:
        """Raise unless every requirement is met. ``connect(url, require=[...])`` calls this.

        Args:
            requirements: a guarantee by name (``"durable"``), or a limit with a bound
                (``"max_value_bytes>=1000000"``, ``"min_ttl<=5"``), in the unit of the field.
            store: what the message calls the store.

        Raises:
            Unsupported: the store misses at least one requirement; the message names all of them.
            ConfigError: a requirement is malformed or names no field.
        """
        missed = [text for text in requirements if not self._meets(text)]
        if missed:
            have = ", ".join(f"{t} (declares {self._declared(t)})" for t in missed)
            raise Unsupported(
                f"connecting to {store}: the store misses what require=[...] asks for: {have}; use another store, or "
                "require less"
            )

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
        """Split ``"name>=bound"``; the operator is empty for a guarantee."""
        match = re.fullmatch(r"\s*(\w+)\s*(?:(>=|<=)\s*(\d+(?:\.\d+)?))?\s*", text)
        notes = field_notes()
        if match is None or match[1] not in notes:
            guarantees = ", ".join(name for name, note in notes.items() if isinstance(note, Guarantee))
            limits = ", ".join(name for name, note in notes.items() if isinstance(note, Limit))
            raise ConfigError(
                f"cannot understand the requirement {text!r}: it names no capability; give a guarantee ({guarantees}) "
                f"or a limit with a bound, such as 'max_value_bytes>=1000000' ({limits})"
            )
        name, operator, bound = match[1], match[2] or "", float(match[3] or 0)
        if isinstance(notes[name], Guarantee) and operator:
            raise ConfigError(
                f"the requirement {text!r} takes no bound: {name} is a guarantee, kept or not; write {name!r}"
            )
        if isinstance(notes[name], Limit) and not operator:
            raise ConfigError(
                f"the requirement {text!r} needs a bound: {name} is a limit; write '{name}>=1' or '{name}<=1'"
            )
        return name, operator, bound


@functools.cache
def field_notes() -> dict[str, Guarantee | Limit]:
    """Return what each field of :class:`Capabilities` means, for documentation, ``doctor`` and error messages.

    Returns:
        Field name to its annotation, in declaration order.
    """
    hints = get_type_hints(Capabilities, include_extras=True)
    return {field.name: hints[field.name].__metadata__[0] for field in dataclasses.fields(Capabilities)}


def _attributes() -> str:
    """The fields as a section of the class's docstring, so that ``help()`` shows what ``field_notes`` returns."""
    lines = []
    for name, note in field_notes().items():
        meaning = f"the store {note.text}" if isinstance(note, Guarantee) else f"{note.text} ({note.unit})"
        lines.append(f"    {name}: {meaning}.")
    return "\n".join(["Attributes:", *lines])


# Without its indentation, which Python 3.13 and later remove and earlier ones keep.
Capabilities.__doc__ = f"{cleandoc(Capabilities.__doc__ or '')}\n\n{_attributes()}\n"
