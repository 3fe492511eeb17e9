"""SIESTA run folders: one module a file kind, and `run`, which assembles a run from them."""
