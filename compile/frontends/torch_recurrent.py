"""LSTM and GRU with an open time axis: torch.export would write their loops out and so fix the length.

While a program is traced, PyTorch computes the shape of a recurrence by its decomposition, a Python loop over the
steps, although the recurrence itself stays one call in the graph. In this block it is asked for its shape alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch


@contextmanager
def whole_recurrences() -> Iterator[None]:
    """In this block torch.export and the ONNX exporter keep aten.lstm and aten.gru whole, whatever their length."""
    import torch
    from torch._decomp import global_decomposition_table

    keys = (torch._C.DispatchKey.CompositeImplicitAutograd, torch._C.DispatchKey.Autograd)
    with ExitStack() as stack:
        for operator, shapes in ((torch.ops.aten.lstm.input, _lstm), (torch.ops.aten.gru.input, _gru)):
            plain = operator.py_kernels.get(keys[0])
            if plain is None:  # another PyTorch, which does not decompose it
                continue
            kernel = _on_shapes(shapes, plain)
            stack.enter_context(patch.dict(operator.py_kernels, dict.fromkeys(keys, kernel)))
            # The exporter traces once more, and then asks this table.
            stack.enter_context(patch.dict(global_decomposition_table["post_autograd"], {operator: kernel}))
            operator._dispatch_cache.clear()  # kernels that were looked up before stay in force otherwise
            stack.callback(operator._dispatch_cache.clear)
        yield


def _on_shapes(shapes: Callable[..., Any], plain: Callable[..., Any]) -> Callable[..., Any]:
    """`shapes` for tensors without values, the operator's own decomposition for all others."""

    def kernel(tensor: Any, *arguments: Any) -> Any:
        return shapes(tensor, *arguments) if _has_no_values(tensor) else plain(tensor, *arguments)

    return kernel


def _has_no_values(tensor: Any) -> bool:
    from torch._subclasses.fake_tensor import FakeTensor
    from torch._subclasses.functional_tensor import FunctionalTensor, mb_unwrap_functional_tensor

    if isinstance(tensor, FunctionalTensor):
        tensor = mb_unwrap_functional_tensor(tensor)
    return isinstance(tensor, FakeTensor)


def _lstm(
    tensor: Any,
    state: Sequence[Any],
    params: Sequence[Any],
    has_biases: bool,
    layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Any, Any, Any]:
    hidden, cell = state
    return _sequence(tensor, hidden, bidirectional), hidden.new_empty(hidden.shape), cell.new_empty(cell.shape)


def _gru(
    tensor: Any,
    hidden: Any,
    params: Sequence[Any],
    has_biases: bool,
    layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Any, Any]:
    return _sequence(tensor, hidden, bidirectional), hidden.new_empty(hidden.shape)


def _sequence(tensor: Any, hidden: Any, bidirectional: bool) -> Any:
    """What a recurrence gives for every step: [.., .., directions * features]."""
    return tensor.new_empty((*tensor.shape[:-1], hidden.shape[-1] * (2 if bidirectional else 1)))
