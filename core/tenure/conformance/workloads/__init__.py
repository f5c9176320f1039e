"""Recorded runs (writers, lease holders, lock users) that several rules inspect."""
