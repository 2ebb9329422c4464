"""--input bindings: open dimensions of the inputs get sizes, and every use of the same name gets the same size."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches

import onnx_ir as ir

from neoc.compile.contracts import Dim, TensorSpec
from neoc.compile.errors import InvalidInput
from neoc.compile.options import InputBinding
from neoc.compile.program import spec_of

Bound = tuple[str, tuple[Dim, ...], str]

_LARGEST = 2**63 - 1


def by_name(bindings: Mapping[str, InputBinding], names: Sequence[str], where: str) -> dict[str, InputBinding]:
    """Bindings by the inputs' own names: '#1' is the second input; '#1:label' is the input `label`, and where there is
    none of that name the second one. Raises InvalidInput for a position that there is not."""
    found: dict[str, InputBinding] = {}
    for key, binding in bindings.items():
        place, _, label = key.removeprefix("#").partition(":")
        if key in names or not key.startswith("#") or not place.isdecimal():
            found[key] = binding
        elif label in names:
            found[label] = binding
        elif int(place) < len(names):
            found[names[int(place)]] = binding
        else:
            raise InvalidInput(
                f"there is no input at position {place}",
                where=where,
                why=f"the model has {len(names)}",
                fix=f"in this order: {', '.join(names) or 'none'}",
            )
    return found


def bind(model: ir.Model, bindings: Mapping[str, InputBinding], where: str) -> tuple[Bound, ...]:
    """Bind in place. Returns (name, shape, dtype) of each binding, in the order of the model's inputs.

    A size fits a fixed dimension only if it is equal. A name in a binding names an open dimension. An unknown rank
    takes any. Raises InvalidInput, which lists the real inputs.
    """
    values = {v.name or "": v for v in model.graph.inputs if v.name not in model.graph.initializers}
    specs = [spec_of(value) for value in values.values()]
    bindings = by_name(bindings, list(values), where)
    for name in bindings:
        if name not in values:
            raise _misfit(f"there is no input named {name!r}", where, specs, name)
    bound: list[Bound] = []
    names: dict[str, Dim] = {}
    for spec in specs:
        binding = bindings.get(spec.name)
        if binding is not None:
            _check(spec, binding, where, specs)
            _collect(spec, binding, names, where, specs)
            bound.append((spec.name, tuple(binding.shape), binding.dtype or spec.dtype))
    if names:
        for value in _values(model):
            if value.shape is not None:
                value.shape = ir.Shape(_resolve(dim, names) for dim in value.shape)
    for name, shape, _ in bound:
        now = values[name].shape
        values[name].shape = ir.Shape(shape if now is None else map(_merge, now, shape))
    return tuple(bound)


def _check(spec: TensorSpec, binding: InputBinding, where: str, specs: list[TensorSpec]) -> None:
    if spec.dtype in ("sequence", "optional"):
        raise _misfit(f"input {spec.name!r} is a {spec.dtype}, which has no shape to bind", where, specs)
    if binding.dtype is not None and binding.dtype != spec.dtype:
        why = f"input {spec.name!r} is {spec.dtype}, not {binding.dtype} (neoc never casts inputs)"
        raise _misfit(why, where, specs)
    if spec.shape is not None and len(binding.shape) != len(spec.shape):
        raise _misfit(f"input {spec.name!r} has rank {len(spec.shape)}, not {len(binding.shape)}", where, specs)
    for axis, size in enumerate(binding.shape):
        if isinstance(size, int) and not 0 <= size <= _LARGEST:
            raise _misfit(f"{size} is no size (axis {axis} of input {spec.name!r})", where, specs)
        fixed = spec.shape[axis] if spec.shape is not None else None
        if isinstance(fixed, int) and size is not None and size != fixed:
            raise _misfit(f"axis {axis} of input {spec.name!r} has the fixed size {fixed}, not {size}", where, specs)


def _collect(
    spec: TensorSpec, binding: InputBinding, names: dict[str, Dim], where: str, specs: list[TensorSpec]
) -> None:
    """Add what a binding says of named dimensions to `names`. Refuses two sizes for one name."""
    for dim, size in zip(spec.shape or (), binding.shape, strict=False):
        if not isinstance(dim, str) or size is None or size == dim:
            continue
        if names.setdefault(dim, size) != size:
            raise _misfit(f"dimension {dim!r} is bound to {names[dim]} and to {size}", where, specs)


def _resolve(dim: int | ir.SymbolicDim, names: Mapping[str, Dim]) -> Dim | ir.SymbolicDim:
    """The dimension with names replaced, in expressions such as `2*batch + 1` too."""
    if isinstance(dim, int) or dim.value is None:
        return dim
    if dim.value in names:
        return names[dim.value]
    used = set(re.findall(r"[A-Za-z_][\w.]*", dim.value)) & names.keys()
    if not used or dim.value in used:
        return dim
    sizes = {name: size for name in used if isinstance(size := names[name], int)}
    if len(sizes) < len(used):
        return ir.SymbolicDim(None)
    try:
        value = dim.evaluate(sizes)
    except (ValueError, ArithmeticError, TypeError):
        return ir.SymbolicDim(None)  # no expression after all, or one that has no value
    if isinstance(value, int) and not 0 <= value <= _LARGEST:
        return ir.SymbolicDim(None)
    return value


def _merge(now: int | ir.SymbolicDim, size: Dim) -> Dim | ir.SymbolicDim:
    return size if size is not None and not isinstance(now, int) else now


def _values(model: ir.Model) -> Iterator[ir.Value]:
    for graph in model.graphs():
        yield from graph.inputs
        for node in graph:
            yield from node.outputs


def _misfit(why: str, where: str, specs: list[TensorSpec], name: str = "") -> InvalidInput:
    close = get_close_matches(name, [spec.name for spec in specs], n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    listed = "; ".join(map(str, specs)) or "none"
    return InvalidInput(
        "--input does not fit the model", where=where, why=why, fix=f"{hint}the model's inputs are {listed}"
    )
