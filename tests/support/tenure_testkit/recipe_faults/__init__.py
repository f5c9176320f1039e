"""Recipes under faults on real servers: processes that use them, what they may see, and the judgement afterwards."""
