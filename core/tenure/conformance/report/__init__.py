"""JSON report of a run, its schema, its verification, its HTML page.

``document`` makes the report, ``verify`` checks it again, ``schema.json`` describes it, ``page`` draws it.
"""
