"""TorchScript archives (`.pt`, `.jit` of torch.jit.save), traced or scripted.

No exporter of PyTorch takes a scripted module with control flow and state. What works: PyTorch's interpreter runs the
script on the sizes of --input while every ATen call is recorded (make_fx). Branches on sizes, on arguments that are no
tensors and on the module's own integers fall away; a branch on a tensor's *values* is refused by the recorder. Tensors
that forward assigns to the module are state: they become inputs, and outputs with `_next` behind the name.

Sizes are fixed by this. A module with open dimensions goes through PyTorch's older exporter, which keeps them, and has
no state.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neoc.compile.contracts import Session, Signature
from neoc.compile.errors import InvalidInput, InvalidModel
from neoc.compile.frontends.binding import by_name
from neoc.compile.frontends.contract import GRAPH, Converted, Request
from neoc.compile.frontends.torch_examples import example_tensors
from neoc.compile.frontends.torch_onnx import innermost, leaf_names, write_onnx
from neoc.compile.frontends.torch_session import TorchSession

FRAMEWORK = "PyTorch"
_LEGACY_OPSET = 17
"""the newest that the older exporter was made for"""


def convert(request: Request, folder: Path) -> Converted:
    script = _Script.read(request)
    if script.open_dims:
        _with_open_sizes(script, folder)
        return Converted(FRAMEWORK, "unknown", ("open dimensions kept by PyTorch's older exporter",))
    exported, names = _recorded(script)
    write_onnx(exported, folder, request.path.name, names)
    notes = [f"forward was recorded at the sizes of --input, with {_shown(script.constants)}"]
    if script.state:
        shown = ", ".join(f"{slot.name} -> {slot.name}_next" for slot in script.state)
        notes.append(f"the module's own state is fed and returned: {shown}; zeros are a fresh start")
    return Converted(FRAMEWORK, "unknown", tuple(notes))


def open_source(request: Request, signature: Signature) -> Session:
    script = _Script.read(request)
    _, names = script.call(script.examples())
    return TorchSession(lambda feeds: script.call(feeds)[0], names, signature)


# ---- the module --------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Slot:
    """A tensor that forward assigns to the module, or to a submodule."""

    path: tuple[str, ...]
    name: str
    """of the input that takes its place"""

    def owner(self, module: Any) -> Any:
        for part in self.path[:-1]:
            module = getattr(module, part)
        return module

    def get(self, module: Any) -> Any:
        return getattr(self.owner(module), self.path[-1])

    def set(self, module: Any, value: Any) -> None:
        setattr(self.owner(module), self.path[-1], value)


class _Script:
    """A loaded module, its tensor arguments by --input, its other arguments by --option constants=."""

    def __init__(self, module: Any, request: Request) -> None:
        self.module, self.where = module, request.path.name
        arguments = module.forward.schema.arguments[1:]
        self.constants = _constants(request.options.get("constants", ""), self.where)
        self._names = [a.name for a in arguments]
        self.inputs = by_name(request.inputs, self._names, self.where)
        self._check(arguments)
        self.state: tuple[_Slot, ...] = ()
        self._rest: dict[str, Any] = {}
        if not self.open_dims:
            self._find_state()

    @classmethod
    def read(cls, request: Request) -> _Script:
        import torch

        torch.set_num_threads(1)
        torch._C._jit_set_profiling_executor(False)  # no kernels that it fuses after a few calls: one numerics
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                module = torch.jit.load(request.path, map_location="cpu").eval()  # type: ignore[no-untyped-call]
        except Exception as error:  # damaged archives fail anywhere inside torch
            raise InvalidModel(
                "the TorchScript archive cannot be loaded",
                where=request.path.name,
                why=innermost(error),
                fix=f"it may be damaged, or written by a newer PyTorch than {torch.__version__}: save it again",
            ) from error
        return cls(module, request)

    @property
    def open_dims(self) -> bool:
        return any(not isinstance(d, int) for binding in self.inputs.values() for d in binding.shape)

    def _check(self, arguments: Sequence[Any]) -> None:
        known = {*self.inputs, *self.constants}
        listed = ", ".join(f"{a.name}: {a.type}" for a in arguments) or "nothing"
        for name in self.constants:
            if name not in self._names:
                raise InvalidInput(f"forward has no argument {name!r}", where=self.where, why=f"it takes {listed}")
        lacking = [a for a in arguments if a.name not in known and not a.has_default_value()]
        if lacking:
            first = lacking[0]
            tensor = "Tensor" in str(first.type)
            raise InvalidInput(
                f"nothing is known of forward's argument {first.name!r}",
                where=self.where,
                why=f"forward takes {listed}; TorchScript says neither sizes nor values",
                fix=f"add --input {first.name}=1,3,224,224 (its real sizes)"
                if tensor
                else f"add --option constants={first.name}=VALUE",
            )

    def examples(self) -> dict[str, Any]:
        """Tensors of the bound sizes; where sizes are open, the first of the ladder that forward takes is not tried."""
        tensors = next(iter(example_tensors({n: b for n, b in self.inputs.items() if n in self._names})), {})
        for slot in self.state:
            tensors[slot.name] = slot.get(self.module)
        return tensors

    def call(self, feeds: Mapping[str, Any]) -> tuple[list[Any], list[str]]:
        """(tensors, their names): what forward returns, then the state it leaves."""
        import torch
        from torch.utils import _pytree

        for name, value in self._rest.items():
            setattr(self.module, name, value)
        for slot in self.state:
            slot.set(self.module, feeds[slot.name])
        kwargs = {n: v for n, v in {**self.constants, **feeds}.items() if n in self._names}
        returned = self.module(**kwargs)
        paths, _ = _pytree.tree_flatten_with_path(returned)
        kept = [(path, leaf) for path, leaf in paths if isinstance(leaf, torch.Tensor)]
        tensors = [leaf for _, leaf in kept] + [slot.get(self.module) for slot in self.state]
        return tensors, [*leaf_names([path for path, _ in kept]), *(f"{slot.name}_next" for slot in self.state)]

    def _find_state(self) -> None:
        """Run forward once, so that what it keeps has its sizes; then list the tensors that it assigned."""
        import torch

        paths = _assigned(self.module)
        try:
            with torch.no_grad():
                self.call(self.examples())
        except Exception as error:  # forward is the user's code
            raise InvalidInput(
                "the module rejects the sizes of --input",
                where=self.where,
                why=innermost(error),
                fix="give the sizes that forward takes; --option constants=NAME=VALUE sets what is no tensor",
            ) from error
        slots: list[_Slot] = []
        for path in paths:
            slot = _Slot(path, _free("_".join(path).strip("_"), [*self._names, *(s.name for s in slots)]))
            value = slot.get(self.module)
            if isinstance(value, torch.Tensor):
                slots.append(slot)
            elif isinstance(value, list | tuple | dict) and value:
                raise InvalidModel(
                    "the module keeps its state in a container",
                    where=f"{self.where}, attribute {'.'.join(path)}",
                    why=f"it is a {type(value).__name__}; only tensors can become inputs and outputs",
                    fix="keep each tensor of the state in an attribute of its own",
                )
        self.state = tuple(slots)
        # Integers and flags that forward sets (the sampling rate seen last) stay as the first call left them.
        self._rest = {p[0]: getattr(self.module, p[0]) for p in paths if len(p) == 1 and not _is_slot(p, slots)}


def _is_slot(path: tuple[str, ...], slots: Sequence[_Slot]) -> bool:
    return any(slot.path == path for slot in slots)


def _assigned(module: Any) -> list[tuple[str, ...]]:
    """Attributes that forward assigns, each as its path from the module, in order of appearance."""
    found: list[tuple[str, ...]] = []
    graph = module.inlined_graph  # nodes are gone with the last reference to their graph
    for node in graph.findAllNodes("prim::SetAttr", recurse=True):
        path = [node.s("name")]
        owner = node.inputsAt(0).node()
        while owner.kind() == "prim::GetAttr":
            path.insert(0, owner.s("name"))
            owner = owner.inputsAt(0).node()
        if tuple(path) not in found:
            found.append(tuple(path))
    return found


def _free(name: str, taken: Sequence[str]) -> str:
    return name if name not in taken else f"{name}_state"


def _constants(text: str, where: str) -> dict[str, Any]:
    """`sr=16000,flag=True`. Raises InvalidInput."""
    found = {}
    for pair in filter(None, text.split(",")):
        name, equals, value = pair.partition("=")
        try:
            if not equals:
                raise ValueError("no '='")
            found[name.strip()] = ast.literal_eval(value.strip().capitalize() if value.islower() else value.strip())
        except (ValueError, SyntaxError) as error:
            raise InvalidInput(
                "--option constants cannot be read",
                where=where,
                why=f"{pair!r}: {error}",
                fix="write --option constants=sr=16000,flag=true",
            ) from error
    return found


def _shown(constants: Mapping[str, Any]) -> str:
    return ", ".join(f"{k}={v!r}" for k, v in constants.items()) or "no arguments but tensors"


# ---- conversion --------------------------------------------------------------------------------


def _recorded(script: _Script) -> tuple[Any, tuple[list[str], list[str]]]:
    """(ExportedProgram of what forward did, names of its inputs and outputs)."""
    import torch
    from torch.fx.experimental.proxy_tensor import make_fx

    examples = script.examples()
    names = list(examples)
    outputs: list[str] = []

    def forward(*tensors: Any) -> list[Any]:
        results, outputs[:] = script.call(dict(zip(names, tensors, strict=True)))
        return results

    try:
        with torch.no_grad():
            graph = make_fx(forward)(*examples.values())
            _drop_detached(graph)
            return torch.export.export(graph, tuple(examples.values()), strict=False), (names, outputs)
    except Exception as error:  # make_fx and torch.export raise whatever they run into
        line = _script_line(str(error))
        on_values = re.search(r"\b(bool|int|float|item)\(", line) is not None
        raise InvalidModel(
            "the script branches on the values of a tensor" if on_values else "the script cannot be recorded",
            where=script.where,
            why=f"`{line}`" if line else innermost(error),
            fix="export the module's Python code instead: module.py:factory"
            + (", with torch.where or torch.cond in place of the branch" if on_values else ""),
        ) from error


def _script_line(text: str) -> str:
    """The line of the script that its interpreter marks in an error; empty where it marks none."""
    lines = text.splitlines()
    marked = [lines[i - 1].strip() for i, line in enumerate(lines) if i and "<--- HERE" in line]
    return marked[-1][:200] if marked else ""


def _drop_detached(graph: Any) -> None:
    """aten.detach does nothing without gradients, and the exporter need not see it."""
    for node in list(graph.graph.nodes):
        if node.op == "call_function" and "aten.detach" in str(node.target):
            node.replace_all_uses_with(node.args[0])
            graph.graph.erase_node(node)
    graph.recompile()


def _with_open_sizes(script: _Script, folder: Path) -> None:
    import torch

    examples = script.examples()
    if script.constants or _assigned(script.module):
        raise InvalidInput(
            "open dimensions are kept only for TorchScript without state and without arguments that are no tensors",
            where=script.where,
            fix="give every dimension a size with --input",
        )
    axes = {
        name: {axis: d if isinstance(d, str) else f"{name}_{axis}" for axis, d in enumerate(b.shape) if not _fixed(d)}
        for name, b in script.inputs.items()
    }
    with torch.no_grad():
        outputs = _checked(script, lambda: script.call(examples)[1])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                script.module,
                tuple(examples.values()),
                str(folder / GRAPH),
                dynamo=False,
                opset_version=_LEGACY_OPSET,
                input_names=list(examples),
                output_names=outputs,
                dynamic_axes={name: found for name, found in axes.items() if found},
            )
    except Exception as error:  # the exporter raises whatever its rules run into
        raise InvalidModel(
            "PyTorch's older exporter, the only one that keeps open dimensions of TorchScript, cannot write the module",
            where=script.where,
            why=innermost(error),
            fix="give every dimension a size with --input: then forward is recorded instead",
        ) from error


def _fixed(dim: object) -> bool:
    return isinstance(dim, int)


def _checked(script: _Script, call: Callable[[], list[str]]) -> list[str]:
    try:
        return call()
    except Exception as error:  # forward is the user's code
        raise InvalidInput(
            "the module rejects example inputs of the shapes of --input",
            where=script.where,
            why=innermost(error),
            fix="give sizes in place of some open dimensions",
        ) from error
