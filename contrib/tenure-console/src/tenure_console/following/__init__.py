"""What the page shows, kept in memory by one watch for all who look. Knows the store, and nothing of the web."""
