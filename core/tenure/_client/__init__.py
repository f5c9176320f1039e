"""Implementation of `Store`: validation, namespaces, deadlines, retries, pagination. Calls the SPI; knows no plugin."""
