"""A service as the cache knew it at one moment: its name and its instances. Immutable, like the instances."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tenure.registry.model.instance import Instance


@dataclass(frozen=True, slots=True)
class Service:
    """A name and the instances that have it, at least one, in the order they became known."""

    name: str
    instances: tuple[Instance, ...]

    @property
    def ready(self) -> tuple[Instance, ...]:
        """Those that want new work."""
        return tuple(instance for instance in self.instances if instance.ready)

    def __len__(self) -> int:
        return len(self.instances)

    def __iter__(self) -> Iterator[Instance]:
        return iter(self.instances)

    def __getitem__(self, position: int) -> Instance:
        return self.instances[position]
