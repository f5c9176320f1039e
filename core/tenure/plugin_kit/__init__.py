"""What plugins of stores on a network share: the parts that each of them would otherwise write again.

:class:`Deadline` is the time that one call of the SPI has, from its first step to its last. :func:`monotonic` is the
clock that deadlines use.
"""

from tenure._runtime.deadline import Deadline, monotonic

__all__ = ["Deadline", "monotonic"]
