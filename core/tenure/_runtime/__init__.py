"""Clocks, deadlines, callback threads, fork detection and retry policy. Imports only `errors` from Tenure."""
