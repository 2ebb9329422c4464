"""PyTorch exported programs (`.pt2`, torch.export.save) and live modules, which are exported into one."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from neoc.compile.contracts import Session, Signature
from neoc.compile.errors import InvalidModel
from neoc.compile.frontends.contract import Converted, Request
from neoc.compile.frontends.torch_examples import export
from neoc.compile.frontends.torch_onnx import innermost, output_names, write_onnx
from neoc.compile.frontends.torch_session import TorchSession
from neoc.compile.frontends.torch_trust import no_pickles
from neoc.compile.options import InputBinding

FRAMEWORK = "PyTorch"


def convert(request: Request, folder: Path) -> Converted:
    write_onnx(_read(request), folder, request.path.name)
    return Converted(FRAMEWORK, _written_by(request.path))


def open_source(request: Request, signature: Signature) -> Session:
    return program_session(_read(request), signature)


def program_session(exported: Any, signature: Signature) -> Session:
    """The exported program, run by PyTorch."""
    module = exported.module()
    arguments = Arguments(exported)

    def call(feeds: Mapping[str, Any]) -> Sequence[Any]:
        args, kwargs = arguments.of(feeds)
        return arguments.results(module(*args, **kwargs))

    return TorchSession(call, output_names(exported), signature)


def save(model: object, folder: Path, example_inputs: object, inputs: Mapping[str, InputBinding]) -> Path:
    """A torch module, exported in evaluation mode with the open dimensions that `inputs` names."""
    import torch

    path = folder / f"{type(model).__name__}.pt2"
    torch.export.save(export(model, example_inputs, inputs, type(model).__name__), path)
    return path


def _read(request: Request) -> Any:
    import torch

    with no_pickles(request.trust_pickle, request.path.name):
        try:
            return torch.export.load(request.path)
        except InvalidModel:
            raise
        except Exception as error:  # damaged archives fail anywhere inside torch
            raise InvalidModel(
                "the exported program cannot be loaded",
                where=request.path.name,
                why=innermost(error),
                fix=f"it may be damaged, or written by a newer PyTorch than {torch.__version__}: export it again",
            ) from error


def _written_by(path: Path) -> str:
    """The PyTorch that wrote the program, as its JSON says."""
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith(".json") and ("models/" in name or "serialized_exported_program" in name):
                found = re.search(rb'"torch_version"\s*:\s*"([^"]{1,40})"', archive.read(name))
                if found:
                    return found[1].decode("ascii", "replace")
    return "unknown"


class Arguments:
    """How feeds become the arguments of forward, and what it returns becomes a list of tensors."""

    def __init__(self, exported: Any) -> None:
        from torch.export.graph_signature import ConstantArgument, InputKind

        specs = [s for s in exported.graph_signature.input_specs if s.kind == InputKind.USER_INPUT]
        self._leaves = [
            (None, s.arg.value) if isinstance(s.arg, ConstantArgument) else (s.arg.name, type(s.arg).__name__)
            for s in specs
        ]
        self._spec = exported.call_spec.in_spec

    def of(self, feeds: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        from torch.utils import _pytree

        leaves = [
            kind if name is None else feeds[name] if kind == "TensorArgument" else feeds[name].item()
            for name, kind in self._leaves
        ]
        args, kwargs = _pytree.tree_unflatten(leaves, self._spec)
        return tuple(args), dict(kwargs)

    @staticmethod
    def results(returned: Any) -> list[Any]:
        import torch
        from torch.utils import _pytree

        return [leaf for leaf in _pytree.tree_leaves(returned) if isinstance(leaf, torch.Tensor)]
