"""STAND-IN for AWS's torch_neuronx, for tests: the documented names and signatures, and no device behind them.

`trace` gives a TorchScript module that computes what the function computes, on the processor, and is marked; nothing is
compiled. The program of a NEFF (torch.classes.neuron.Model, torch.ops.neuron.forward_v2) is answered as the stand-in of
nrtpy answers it. Imports torch, numpy and that stand-in. Sources: AWS Neuron documentation 2.32, PyTorch NeuronX
Tracing API for Inference; transformers-neuronx, compiler.py (the program's own class and its description).
"""

from __future__ import annotations

import os
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

NEOC_STANDIN = True
__version__ = "2.9.0.2.15.32035+neoc.stand-in"

if os.environ.get("NEOC_ALLOW_STANDIN") != "1":
    raise ImportError("this is neoc's stand-in for torch_neuronx; it may be used only where NEOC_ALLOW_STANDIN=1")

import torch  # noqa: E402

calls: list[dict[str, Any]] = []
"""every trace that was made: its keyword arguments"""


def trace(
    func: Any,
    example_inputs: Any,
    *_: Any,
    input_output_aliases: dict[Any, Any] | None = None,
    compiler_workdir: str | None = None,
    compiler_args: str | list[str] | None = None,
    partitioner_config: Any = None,
    inline_weights_to_neff: bool = True,
    cpu_backend: bool = False,
) -> Any:
    """A ScriptModule. Like the real one it wants keywords, a tuple of tensors, and a target where no chip is here."""
    words = compiler_args.split() if isinstance(compiler_args, str) else list(compiler_args or [])
    if _:
        raise TypeError("keyword arguments are not taken by position")
    if cpu_backend and "--target" not in words:
        raise RuntimeError("cpu_backend needs compiler_args with --target")
    if "--target" in words and words[words.index("--target") + 1] not in ("inf2", "trn1", "trn1n", "trn2"):
        raise RuntimeError("neuronx-cc: error: argument --target: invalid choice")
    calls.append({"compiler_args": words, "compiler_workdir": compiler_workdir, "cpu_backend": cpu_backend})
    with torch.no_grad():
        return torch.jit.trace(func, example_inputs, check_trace=False)  # type: ignore[no-untyped-call]


# ---- the program of a NEFF -------------------------------------------------------------------------


class _Repeated(list[Any]):
    def add(self) -> Any:
        self.append(SimpleNamespace(name=b"", shape=[], data_type=0))
        return self[-1]


class MetaNeff:
    def __init__(self) -> None:
        self.input_tensors, self.output_tensors = _Repeated(), _Repeated()

    def SerializeToString(self) -> bytes:
        rows = [(t.name, tuple(t.shape), t.data_type) for t in (*self.input_tensors, *self.output_tensors)]
        return repr((len(self.input_tensors), rows)).encode()


class _DataType:
    FLOAT, INT32, BYTE, STRING, BOOL, UINT8, INT8, UINT16, INT16, INT64 = range(1, 11)
    FLOAT16, DOUBLE, BFLOAT16 = 12, 13, 14


class _Model:
    def __init__(self, neff: bytes, metaneff: bytes) -> None:
        import ast

        import nrtpy

        self.nrtpy = nrtpy
        self.parameters, self.results = nrtpy.shapes_of(neff)
        count, rows = ast.literal_eval(metaneff.decode())
        names = [f"input{i}".encode() for i in range(count)] + [f"output{i}".encode() for i in range(len(rows) - count)]
        shapes = [shape for shape, _ in (*self.parameters, *self.results)]
        if [row[0] for row in rows] != names or [row[1] for row in rows] != shapes:
            raise RuntimeError("the description does not fit the program")
        self.wide = [row[2] == _DataType.INT64 for row in rows[count:]]


def _forward(tensors: list[Any], model: _Model) -> list[Any]:
    import ml_dtypes
    import numpy as np

    if len(tensors) != len(model.parameters):
        raise RuntimeError(f"{len(tensors)} tensors, the program has {len(model.parameters)}")
    bf16 = torch.bfloat16
    values = [t.view(torch.int16).numpy().view(ml_dtypes.bfloat16) if t.dtype == bf16 else t.numpy() for t in tensors]
    found = []
    for index, (shape, dtype) in enumerate(model.results):
        array = model.nrtpy.answer(values, index, shape, dtype)
        array = array.astype(np.int64) if model.wide[index] else array
        if array.dtype == ml_dtypes.bfloat16:
            found.append(torch.from_numpy(array.view(np.int16)).view(bf16))
        else:
            found.append(torch.from_numpy(array))
    return found


def _install() -> None:
    """torch's own registry, and the module of protobuf classes, as the real package has them."""
    package, proto = ModuleType("torch_neuronx.proto"), ModuleType("torch_neuronx.proto.metaneff_pb2")
    for name, value in (("MetaNeff", MetaNeff), ("MetaTensor", SimpleNamespace(DataType=_DataType))):
        setattr(proto, name, value)
    package.__dict__["metaneff_pb2"] = proto
    sys.modules |= {package.__name__: package, proto.__name__: proto}
    torch.classes.__dict__["neuron"] = SimpleNamespace(Model=_Model)
    torch.ops.__dict__["neuron"] = SimpleNamespace(forward_v2=_forward)


_install()
