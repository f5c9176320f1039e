"""A Tenure store in PostgreSQL: ``postgresql://user:password@host/namespace?database=name``."""
