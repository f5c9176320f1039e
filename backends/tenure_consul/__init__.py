"""Tenure on Consul: transactions, sessions and blocking queries of its HTTP API; python-consul as ``native``.

Keys live below ``ROOT/kv/`` of Consul's own key space (``tenure.spi`` says what a plugin owes). ``connection`` speaks
HTTP with a deadline, ``pool`` chooses the agent, ``keys`` names keys, ``revisions`` tells how far the store is known
to be; ``reads``, ``transactions``, ``leases`` and ``watch`` with its ``prefix_poller`` do what their names say.
"""
