"""What a registry knew when its store was last reached, kept in a file for a start while the store is away."""
