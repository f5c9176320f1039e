"""``tenure top``: the same picture at a terminal. It only reads. Needs the extra ``top``."""
