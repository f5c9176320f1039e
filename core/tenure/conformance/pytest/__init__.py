"""pytest plugin, test class and result collection."""
