"""Recipes on an event loop: the steps of :mod:`tenure.recipes`, performed without blocking it."""
