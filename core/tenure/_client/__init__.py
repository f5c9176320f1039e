"""Implement `Store`: validation, namespaces, deadlines, retries, pagination. Calls the SPI and knows no plugin."""
