"""torch.export of a module: example arguments from the user or from --input, open dimensions by their names."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from neoc.compile.errors import InvalidInput, InvalidModel, NeocError
from neoc.compile.frontends.torch_onnx import innermost
from neoc.compile.frontends.torch_recurrent import whole_recurrences
from neoc.compile.options import InputBinding

_LADDER = ((64, 16), (224, 32), (8, 1), (512, 64))
"""(first size, step to the next symbol's): sizes of open dimensions to export with, none equal, none 0 or 1"""
_BATCH = 2

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


def export(model: Any, example_inputs: object, inputs: Mapping[str, InputBinding], where: str) -> Any:
    """The ExportedProgram of a module in evaluation mode.

    Dimensions that `inputs` names, or binds to a size that is not the example's, stay open; all others are fixed to the
    example's. Raises InvalidInput where the examples do not fit forward, or a dimension that should stay open cannot;
    InvalidModel where torch.export fails.
    """
    import torch

    if not isinstance(model, torch.nn.Module):
        raise InvalidModel(
            "the factory gives no torch module",
            where=where,
            why=f"it gives a {type(model).__name__}",
            fix="return a torch.nn.Module, or (module, example_inputs)",
        )
    _refuse_devices(model, where)
    names = _parameters(model)
    first: Exception | None = None
    for args, kwargs in _examples(example_inputs, inputs, names, where):
        shapes = _dynamic_shapes(args, kwargs, inputs, names, where)
        try:
            with evaluating(model), torch.no_grad(), whole_recurrences():
                return torch.export.export(model, args, kwargs, dynamic_shapes=shapes, strict=False)
        except NeocError:
            raise
        except Exception as error:  # forward is the user's code: it raises whatever it likes
            first = first or error
    assert first is not None
    raise _explained(first, inputs, where) from first


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """Evaluation mode inside the block; every submodule's own mode after it."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def example_tensors(inputs: Mapping[str, InputBinding]) -> Iterator[dict[str, Any]]:
    """Tensors of the bound shapes, one set for every rung of sizes for the open dimensions."""
    symbols = list(dict.fromkeys(d for b in inputs.values() for d in b.shape if not isinstance(d, int)))
    batch = {b.shape[0] for b in inputs.values() if b.shape and not isinstance(b.shape[0], int)}
    for base, step in _LADDER if set(symbols) - batch else _LADDER[:1]:
        sizes = {s: _BATCH if s in batch else base + step * i for i, s in enumerate(symbols)}
        yield {
            name: _tensor([d if isinstance(d, int) else sizes[d] for d in binding.shape], binding.dtype or "float32")
            for name, binding in inputs.items()
        }


def _tensor(shape: Sequence[int], dtype: str) -> Any:
    import torch

    kind = getattr(torch, {"bool": "bool"}.get(dtype, dtype), None)
    if not isinstance(kind, torch.dtype):
        raise InvalidInput(f"torch has no dtype {dtype!r}", where="--input", fix="use float32, int64, bool ...")
    generator = torch.Generator().manual_seed(0)
    if kind.is_floating_point:
        return torch.randn(list(shape), generator=generator).to(kind)
    return torch.ones(list(shape), dtype=kind)


def _parameters(model: Any) -> list[str]:
    return list(inspect.signature(model.forward).parameters)


def _examples(
    given: object, inputs: Mapping[str, InputBinding], names: Sequence[str], where: str
) -> Iterator[Arguments]:
    import torch

    if given is not None:
        if isinstance(given, Mapping):
            yield (), dict(given)
        elif isinstance(given, torch.Tensor):
            yield (given,), {}
        elif isinstance(given, Sequence):
            yield tuple(given), {}
        else:
            raise InvalidInput(
                "the example inputs cannot be used",
                where=where,
                why=f"they are a {type(given).__name__}",
                fix="give a tuple of the arguments of forward, or a dict of them by name",
            )
        return
    unknown = [name for name in inputs if name not in names]
    if not inputs or unknown:
        raise InvalidInput(
            f"forward has no argument {unknown[0]!r}" if unknown else "the shapes of the inputs are not known",
            where=where,
            why=f"forward takes {', '.join(names) or 'nothing'}",
            fix=f"give each with --input, such as --input {names[0] if names else 'x'}=N,3,224,224[:float32]; "
            "or return (module, example_inputs) from a factory",
        )
    for tensors in example_tensors(inputs):
        yield (), tensors


def _dynamic_shapes(
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    inputs: Mapping[str, InputBinding],
    names: Sequence[str],
    where: str,
) -> dict[str, Any] | None:
    """What torch.export takes: for every argument, which of its dimensions stay open."""
    import torch

    given = {**dict(zip(names, args, strict=False)), **kwargs}
    if len(args) > len(names):
        return None  # *args: nothing has a name that could be bound
    shapes: dict[str, Any] = dict.fromkeys(given)
    for name, binding in inputs.items():
        tensor = given.get(name)
        if not isinstance(tensor, torch.Tensor):
            listed = ", ".join(f"{n} {list(t.shape)}" for n, t in given.items() if isinstance(t, torch.Tensor))
            raise InvalidInput(
                f"there is no input {name!r}", where=where, why=f"the example inputs are {listed}", fix="check --input"
            )
        if tensor.dim() != len(binding.shape):
            raise InvalidInput(
                f"--input {name} does not fit the example input",
                where=where,
                why=f"the example has shape {list(tensor.shape)}",
                fix="give as many dimensions: sizes, or names for those that stay open",
            )
        # A size that is not the example's is bound once the graph is there, in a dimension that the export leaves open.
        dims = torch.export.Dim
        shapes[name] = {
            axis: dims.AUTO if d is None else dims.DYNAMIC
            for axis, (d, size) in enumerate(zip(binding.shape, tensor.shape, strict=True))
            if d != size
        }
    return shapes


def _refuse_devices(model: Any, where: str) -> None:
    devices = {str(t.device) for t in [*model.parameters(), *model.buffers()]} - {"cpu"}
    if devices:
        raise InvalidModel(
            "the module is not on the CPU",
            where=where,
            why=f"it has tensors on {', '.join(sorted(devices))}",
            fix="move it first: module.cpu()",
        )


def _explained(error: Exception, inputs: Mapping[str, InputBinding], where: str) -> NeocError:
    """The user's words for what torch.export ran into, with the line of the user's code where there is one."""
    text = str(error)
    # torch lists what is violated, one a line, each with advice on its own interface behind it.
    found = [line[4:].split(". If you're using")[0] for line in text.splitlines() if line.startswith("  - ")]
    if inputs and ("onstraint" in text or "specializ" in text):
        return InvalidInput(
            "a dimension that should not be the example's is fixed by the model's code",
            where=where,
            why=(" ".join("; ".join(found).split()) or " ".join(text.split()))[:500],
            fix="bind it to the size that the code wants, or write the code so that it holds for every size",
        )
    return InvalidModel(
        "torch.export cannot trace the model",
        where=where,
        why=f"{innermost(error)}{_user_line(error)}",
        fix="see torch.export's documentation on the limits of what it traces; most often a branch on tensor values",
    )


def _user_line(error: BaseException) -> str:
    """' (model.py:12: code)' of the last frame that is not torch's or neoc's."""
    import traceback

    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not re.search(r"[/\\](torch|neoc|compile[/\\]frontends)[/\\]", frame.filename)
    ]
    if not frames:
        return ""
    last = frames[-1]
    file = re.split(r"[/\\]", last.filename)[-1]
    return f" ({file}:{last.lineno}: {last.line})"
