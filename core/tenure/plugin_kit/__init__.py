"""What plugins of stores on a network share: the parts that each of them would otherwise write again.

``Deadline`` is the time that one call of the SPI has, from its first step to its last.
"""

from tenure._runtime.deadline import Deadline, monotonic

__all__ = ["Deadline", "monotonic"]
