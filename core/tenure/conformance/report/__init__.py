"""The report of a run: what was promised, tried, seen and concluded, in one JSON document that can be verified later.

``document`` makes it, ``verify`` judges it again, ``schema.json`` says what is in it, ``page`` draws it.
"""
