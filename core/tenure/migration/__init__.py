"""Copy or continuously mirror a namespace into another store."""
