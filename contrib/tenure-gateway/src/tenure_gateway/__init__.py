"""A registry for programs that aren't Python: ``tenure render`` writes files, ``tenure serve`` answers requests."""
