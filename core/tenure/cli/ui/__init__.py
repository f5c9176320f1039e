"""How the command line shows results: tables, lines or JSON, errors, outages."""
