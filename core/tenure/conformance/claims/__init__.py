"""Claims of conformance: what a report says in a few lines, who stands for it, and how others repeat the run."""
