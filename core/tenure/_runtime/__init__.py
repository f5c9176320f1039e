"""Clock, callback threads, fork detection, retry policy. Imports nothing of Tenure but `errors`."""
