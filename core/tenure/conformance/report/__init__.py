"""JSON report of a run, its schema, its verification, its HTML page.

``document`` makes the report, ``schema.json`` describes it, ``verify`` verifies it, ``page`` draws it, and ``matrix``
puts several reports side by side.
"""
