"""Finds the plugin for a URL scheme (entry points) and parses the URL."""
