"""A store on SQL as an outsider writes it from the public pages: right, slow and broken, and judged by the suite."""
