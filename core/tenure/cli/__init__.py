"""The ``tenure`` command. commands/: one module per command; ui/: output; no logic that a library user would want."""
