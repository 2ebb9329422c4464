"""Engines: one compiler and its runtime each, found by entry point. `reference.py` is the template of the next one."""
