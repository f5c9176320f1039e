"""Remembers what a command tells, in place of writing it."""

from __future__ import annotations

from tenure_gateway.events import Teller

from tenure.cli.ui.output import Output


class Recorder(Teller):
    def __init__(self) -> None:
        super().__init__(Output(json=True))
        self.events: list[tuple[str, str]] = []

    def tell(self, kind: str, message: str, **more: object) -> None:
        self.events.append((kind, message))

    def take(self) -> list[str]:
        kinds = [kind for kind, _ in self.events]
        self.events.clear()
        return kinds
