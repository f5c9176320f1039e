"""A fleet: many clients of one server lose it together, and come back. What that costs is measured.

run.py (tests/fleet) ── fleet ──┬── outages     how the server goes, and with what it comes back
                                ├── load        what the server is asked for, ten times a second
                                └── worker      processes with many clients each

Each client has a store of its own, a lease with a key, and a watch of all data.
"""
