"""A torch callable as a Session: the framework itself, one thread, no gradients. The oracle of PyTorch sources."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from neoc.compile.contracts import FeedCheck, Feeds, Session, Signature, dtype_name
from neoc.compile.errors import FeedError


class TorchSession(Session):
    """`call` takes tensors by input name and gives the output tensors in the order of `names`."""

    def __init__(
        self, call: Callable[[Mapping[str, Any]], Sequence[Any]], names: Sequence[str], signature: Signature
    ) -> None:
        import torch

        torch.set_num_threads(1)
        self.inputs, self.outputs = signature.inputs, signature.outputs
        self._check = FeedCheck(signature.inputs)
        self._names = tuple(names)
        self._call: Callable[[Mapping[str, Any]], Sequence[Any]] | None = call

    def run(self, feeds: Feeds, outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        import torch

        self._check.check(feeds)
        if self._call is None:
            raise FeedError("the session was closed", fix="open another one")
        with torch.no_grad():
            results = self._call({name: to_torch(array) for name, array in feeds.items()})
        found = {name: to_numpy(tensor) for name, tensor in zip(self._names, results, strict=True)}
        wanted = [spec.name for spec in self.outputs] if outputs is None else outputs
        return {name: found[name] for name in wanted}

    def close(self) -> None:
        self._call = None


def to_torch(array: np.ndarray) -> Any:
    """A tensor with the array's values; a copy, since a model may write to what it gets."""
    import torch

    if dtype_name(array.dtype) == "bfloat16":
        return torch.from_numpy(array.view(np.int16).copy()).view(torch.bfloat16)
    return torch.from_numpy(np.array(array))


def to_numpy(tensor: Any) -> np.ndarray:
    """A fresh C-contiguous array."""
    import torch

    if not isinstance(tensor, torch.Tensor):
        return np.asarray(tensor)
    tensor = tensor.detach().cpu().contiguous()
    if tensor.dtype == torch.bfloat16:
        import ml_dtypes

        half: np.ndarray = tensor.view(torch.int16).numpy().copy().view(ml_dtypes.bfloat16)
        return half
    found: np.ndarray = np.array(tensor.numpy())
    return found
