"""A soak: many application processes use several stores at once through random faults, and the promises are checked.

run.py (tests/soak) ── Soak ──┬── Target        one store: its server, the proxy before it, what can happen to it
                              ├── Weather       one thread for each store: random faults, one at a time
                              └── worker.py     application processes; each runs Actors
Actor       random acts on one store, and what the store may hold now, as far as this actor knows
Replica     what a watch has delivered, and whether it keeps the promises about watches
checker     the judgements over all actors of a store: counters and locks
"""
