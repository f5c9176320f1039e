"""What changes over time in a registry: the registration, the cache, the handlers."""
