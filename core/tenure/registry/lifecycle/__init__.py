"""The parts of a registry that change over time: registration, cache, handlers."""
