"""Inject a fault and verify that it took effect."""
