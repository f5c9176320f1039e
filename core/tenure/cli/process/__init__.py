"""Processes and signals: what ``tenure run`` and ``tenure register`` need from the operating system."""
