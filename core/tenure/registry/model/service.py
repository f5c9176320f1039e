"""A service as the cache knew it at one moment: its name and its instances."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tenure.registry.model.instance import Instance


@dataclass(frozen=True, slots=True)
class Service:
    """A service and its instances, at least one. Immutable, and a sequence of its instances.

    >>> from tenure.registry import Instance
    >>> service = Service("web", (Instance("web", port=80), Instance("web", port=81).with_status("draining")))
    >>> len(service), [instance.port for instance in service.ready]
    (2, [80])

    Attributes:
        name: the service's name.
        instances: its instances, in the order in which they became known.
    """

    name: str
    instances: tuple[Instance, ...]

    @property
    def ready(self) -> tuple[Instance, ...]:
        """The instances that accept new work."""
        return tuple(instance for instance in self.instances if instance.ready)

    def __len__(self) -> int:
        return len(self.instances)

    def __iter__(self) -> Iterator[Instance]:
        return iter(self.instances)

    def __getitem__(self, position: int) -> Instance:
        return self.instances[position]
