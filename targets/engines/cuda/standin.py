"""A session on the stand-in of a GPU: for tests of everything around a device, where there is none."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any

import numpy as np

from neoc.compile.contracts import FeedCheck, Feeds, Session, Signature, dtype_of
from neoc.compile.errors import InvalidArtifact, WorkerRefused, WrongDevice
from neoc.targets import standins
from neoc.targets.engines.tensors import chosen

STAMP = "stand-in: no GPU was used"


def open_standin(image: memoryview, signature: Signature) -> Session:
    """Raises WrongDevice where stand-ins are not allowed, InvalidArtifact for what no stand-in made."""
    folder = standins.modules()
    if folder is None:
        raise WrongDevice(
            "the artifact was made by a stand-in of NVIDIA's compilers",
            why="it exists to test neoc, and no device can run it",
            fix="compile the model again with the real ones: pip install 'neoc[cuda]'",
        )
    spec = importlib.util.spec_from_file_location("neoc_standin_nvdevice", folder / "nvdevice.py")
    assert spec is not None
    assert spec.loader is not None
    device = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(device)
    return StandinSession(device, bytes(image), signature)


class StandinSession(Session):
    concurrency = 1

    def __init__(self, device: Any, image: bytes, signature: Signature) -> None:
        self.inputs, self.outputs, self.stamp = signature.inputs, signature.outputs, STAMP
        self._check = FeedCheck(self.inputs)
        self._device = device
        try:
            self._program: Any = device.Program(image)
        except device.DeviceError as error:
            raise InvalidArtifact("the stand-in of a GPU does not load the artifact", why=str(error)) from error

    def run(self, feeds: Feeds, outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        self._check.check(feeds)
        if self._program is None:
            raise WorkerRefused("running was not tried", why="the session was closed")
        names = [spec.name for spec in self.outputs]
        wanted = names if outputs is None else chosen(outputs, names)
        sizes = {d: n for s in self.inputs for d, n in zip(s.shape or (), feeds[s.name].shape, strict=False)}
        results = [
            (
                s.name,
                tuple(int(sizes.get(d, 1)) if not isinstance(d, int) else d for d in s.shape or ()),
                dtype_of(s.dtype).name,
            )
            for s in self.outputs
            if s.name in wanted
        ]
        found: dict[str, np.ndarray] = self._program.run(dict(feeds), results)
        return found

    def close(self) -> None:
        self._program = None
