"""Batching, pre- and post-processing, compiled: the same numbers everywhere.

Import the module that is needed (`neoc.kernels.image`, `.tabular`, `.sequence`, `.quantize`, `.batching`, `.post`);
this package itself imports nothing. Every kernel has a plain numpy twin in `neoc.kernels.twins` that tests compare with.
"""
