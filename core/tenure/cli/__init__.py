"""The command ``tenure``: a service registry, keys and leases from the shell, on any store."""
