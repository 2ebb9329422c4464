"""Batching, pre- and post-processing, compiled: the same numbers everywhere.

Import the module that is needed (`neoc.kernels.image`, `.tabular`, `.sequence`, `.quantize`, `.batching`, `.post`);
this package itself imports nothing. Every kernel has a plain numpy twin, in `*_twin.py` or in its tests, that it is
compared with.
"""
