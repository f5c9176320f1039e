"""``tenure serve``: the registry by HTTP, for Prometheus and for any program, and by DNS."""
