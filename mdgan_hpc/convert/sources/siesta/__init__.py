"""Run folders of SIESTA: one file kind a module, and `run`, which puts them together."""
