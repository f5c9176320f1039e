"""Processes and signals: what `tenure run` and `tenure register` need of the operating system."""
