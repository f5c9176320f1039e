"""Runs rules without pytest: selection, time limits, recovery between rules."""
