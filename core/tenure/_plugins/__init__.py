"""Find the plugin for a URL scheme among the installed entry points, and parse the URL."""
