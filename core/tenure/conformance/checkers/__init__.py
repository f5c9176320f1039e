"""Pure functions from a recorded history to a list of problems. No I/O."""
