"""Examines a store as an application would find it, and says what to do about each finding.

``checkup`` makes the whole examination, ``trials`` tries each use of the store one by one, and the backend's own
``diagnose`` adds what only it can know. Commands and pages only show the result.
"""

from tenure.diagnosis.checkup import Checkup, caveats_of, examine, examine_store

__all__ = ["Checkup", "caveats_of", "examine", "examine_store"]
