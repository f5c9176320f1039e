"""Logic without I/O: generators that yield what they need, and what performs it for them.

A recipe is written once, as steps. :mod:`tenure._steps.effects` has the requests that steps can make;
:mod:`tenure._steps.threads` performs them on the calling thread. Tests perform them in every order.
"""
