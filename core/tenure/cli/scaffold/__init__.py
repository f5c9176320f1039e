"""The package that `tenure new-backend` writes: names and templates."""
