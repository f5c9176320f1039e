"""The rules, one module per area; a method's docstring is the guarantee it checks. No helpers in here."""
