"""Check whether an order of the recorded operations explains every result.

* :mod:`.operations`: one recorded operation, and its form in JSON.
* :mod:`.by_revision`: the main checker. Results have revisions, so the order is known and only has to be checked.
* :mod:`.search`: finds an order if there are no revisions, by trying many (Wing, Gong and Lowe).
* :mod:`.exhaustive`: tries every order of a tiny history, to check the other checkers.
* :mod:`.models`: the results of a store, or a lock, if operations come one after another.
* :mod:`.checkers`: the checkers, which read histories in JSON.
"""
