"""How untrusted text, values, differences, times and sizes look on a page. Knows no store and no server."""
