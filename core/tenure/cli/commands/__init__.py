"""One module per command. A module is imported when its command runs."""
