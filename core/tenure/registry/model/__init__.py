"""Data and wire format of the registry: instances, services, events, configuration. No I/O."""
