"""Starting a registry from a file of what it knew, while the store is away."""
