"""Random cancels of every call and recipe of ``tenure.aio`` under faults, and the judgement of what is left."""
