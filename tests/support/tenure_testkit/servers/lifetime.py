"""What is started and removed, by a `with` block or by hand."""

from abc import ABC, abstractmethod
from typing import Self


class Lifetime(ABC):
    """Base of the servers and of their groups: a `with` block starts it and leaves nothing behind."""

    @abstractmethod
    def start(self) -> Self:
        """Start it and wait until it works."""

    @abstractmethod
    def remove(self) -> None:
        """Remove everything, whatever the state."""

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.remove()
            raise

    def __exit__(self, *exc: object) -> None:
        self.remove()
