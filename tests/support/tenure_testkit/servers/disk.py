"""A disk of a few megabytes for a server's data, to be filled up from outside.

It is a volume in memory. The engine forgets such a volume when the last container that uses it stops, so a container
that does nothing else holds it: the data outlives the server's own container, and there is somebody to fill the disk
and to make room again while the server is down.
"""

import uuid
from enum import Enum, auto
from typing import TYPE_CHECKING, Self

from tenure_testkit.servers import engine
from tenure_testkit.servers.lifetime import Lifetime

if TYPE_CHECKING:
    from docker.models.containers import Container
    from docker.models.volumes import Volume

_HERE = "/disk"
_FILLER = f"{_HERE}/.filler"


class WhenFull(Enum):
    """What a server does that can't write to its disk."""

    REFUSES = auto()
    """It refuses writes, says why, and goes on answering reads."""

    FALTERS = auto()
    """It says so at first, and is then without a leader for most of the time: only stale reads are answered."""

    ENDS = auto()
    """Its process ends."""


class SmallDisk(Lifetime):
    """`size` bytes, rounded up to whole pages of memory. `image_folder`: of the server that will use it."""

    def __init__(self, image_folder: str, size: int) -> None:
        self.name = f"tenure-{uuid.uuid4().hex[:12]}"
        self._image_folder = image_folder
        self._size = size
        self._volume: Volume | None = None
        self._holder: Container | None = None

    def start(self) -> Self:
        client = engine.client()
        self._volume = client.volumes.create(
            self.name,
            driver_opts={"type": "tmpfs", "device": "tmpfs", "o": f"size={self._size},mode=1777"},
            labels=engine.labels(),
        )
        self._holder = client.containers.create(
            engine.image(self._image_folder),
            command=["sleep", "infinity"],
            user="root",
            volumes=self.mounted_at(_HERE),
            labels=engine.labels(),
        )
        self._holder.start()
        return self

    def remove(self) -> None:
        """Remove it; the server that used it is gone already."""
        holder, self._holder = self._holder, None
        if holder is not None:
            holder.remove(force=True, v=True)
        volume, self._volume = self._volume, None
        if volume is not None:
            volume.remove()

    def mounted_at(self, folder: str) -> dict[str, dict[str, str]]:
        """What tells the engine to mount it there."""
        return {self.name: {"bind": folder, "mode": "rw,nocopy"}}

    def fill(self, *, but: int = 0) -> None:
        """Take all the room that is left, `but` so many bytes. When it returns, the disk is full."""
        # Ends by the error that says so; what it could write stays.
        self._run(f"cat /dev/zero >{_FILLER}; truncate -s -{but} {_FILLER}")
        left = self.left()
        if left > but + 8192:
            raise engine.EngineError(f"the disk could not be filled: {left} bytes are left")

    def free(self) -> None:
        """Give back what `fill` took."""
        self._run(f"rm -f {_FILLER}")

    def clear(self) -> None:
        """Throw away everything that is on it."""
        self._run(f"find {_HERE} -mindepth 1 -delete")

    def give_to(self, user: str, mode: int) -> None:
        """Make a user of the image the owner of the disk, with these rights."""
        self._run(f"chown {user}:{user} {_HERE} && chmod {mode:o} {_HERE}")

    def left(self) -> int:
        """Bytes that can be written now."""
        return int(self._run(f"df --output=avail -B1 {_HERE} | tail -1"))

    def _run(self, script: str) -> str:
        if self._holder is None:
            raise engine.EngineError("the disk was not started")
        done = self._holder.exec_run(["sh", "-c", script])
        return bytes(done.output).decode(errors="replace")
