"""A Tenure store in one JSON file: ``jsonfile:///path/to/state.json``."""
