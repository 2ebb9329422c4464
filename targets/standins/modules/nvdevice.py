"""STAND-IN for an NVIDIA GPU, for tests: it takes what the stand-in compilers wrote, and there is no device behind it.

It computes no model: each result is filled with one number that hangs on every input, so that a test sees which tensor
went where. Imports numpy and the standard library alone.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

NEOC_STANDIN = True

if os.environ.get("NEOC_ALLOW_STANDIN") != "1":
    raise ImportError("this is neoc's stand-in for an NVIDIA GPU; it may be used only where NEOC_ALLOW_STANDIN=1")


class DeviceError(Exception):
    """What a driver would report as a CUresult."""


class Program:
    """A loaded image: `kernels` (nvcc's) or one `engine` (trtexec's)."""

    def __init__(self, image: bytes) -> None:
        try:
            self._facts: dict[str, Any] = json.loads(image)
        except ValueError as error:
            raise DeviceError(f"CUDA_ERROR_INVALID_IMAGE: {error}") from error
        if "NEOC_STANDIN" not in self._facts:
            raise DeviceError("CUDA_ERROR_INVALID_IMAGE: it was not made by a stand-in")
        if not self._facts.get("kernels") and not self._facts.get("engine"):
            raise DeviceError("CUDA_ERROR_NOT_FOUND: the image holds nothing that can be launched")

    def run(
        self, feeds: Mapping[str, np.ndarray], results: Sequence[tuple[str, tuple[int, ...], str]]
    ) -> dict[str, np.ndarray]:
        """results: (name, shape, dtype) of each. Raises DeviceError for feeds that the image does not know."""
        known = self._facts.get("inputs")
        if known is not None and sorted(known) != sorted(feeds):
            raise DeviceError(f"CUDA_ERROR_INVALID_VALUE: the engine binds {sorted(known)}, not {sorted(feeds)}")
        mixed = 0
        for name in sorted(feeds):
            mixed = zlib.crc32(np.ascontiguousarray(feeds[name]).tobytes(), zlib.crc32(name.encode(), mixed))
        return {n: np.full(shape, zlib.crc32(n.encode(), mixed) % 97, dtype) for n, shape, dtype in results}
