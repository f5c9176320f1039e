"""Leasehold on Consul: transactions, sessions and blocking queries of its HTTP API; python-consul as ``native``.

Keys live below ``ROOT/kv/`` of Consul's own key space (``leasehold.spi`` says what a plugin owes; decision and limits
are in ``capabilities.py``). ``link`` speaks HTTP with a deadline, ``pool`` chooses the agent, ``layout`` names keys,
``transactions``, ``reads``, ``leases`` and ``watch`` do what their names say.
"""
