"""Was there an order of the operations that explains every answer? Checkers of recorded histories.

* :mod:`.operations`: one recorded operation, and its form in JSON.
* :mod:`.by_revision`: the main checker. Answers carry revisions, so the order is known and only has to be tried.
* :mod:`.search`: finds an order where there are no revisions, by trying many (Wing, Gong and Lowe).
* :mod:`.brute`: tries every order, for tiny histories: the check of the checkers.
* :mod:`.models`: what a store, or a lock, would answer if operations came one after another.
* :mod:`.checkers`: the checkers, which read histories in JSON.
"""
