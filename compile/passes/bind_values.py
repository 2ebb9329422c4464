"""Inputs that are fixed for good become constants: a sampling rate, an axis, a shape.

BindValues((("sr", 16000),))    an If on the rate folds away
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from neoc.compile.errors import InvalidInput
from neoc.compile.passes import graph as g
from neoc.compile.program import Program, spec_of

Number = int | float | bool
Nested = Number | str | tuple["Nested", ...]
"""a scalar, or nested tuples of one shape: hashable, and written out in full by repr"""


@dataclass(frozen=True)
class BindValues:
    """values: (input name, value) pairs; the value takes the input's dtype. The inputs leave the signature."""

    values: tuple[tuple[str, Nested], ...]

    @property
    def bound(self) -> frozenset[str]:
        return frozenset(name for name, _ in self.values)

    def __call__(self, program: Program) -> Program:
        """Raises InvalidInput where a name is no input, or its shape or dtype does not take the value."""
        copy = program.clone()
        graph = copy.model.graph
        for name, nested in self.values:
            value = next((v for v in graph.inputs if v.name == name), None)
            if value is None:
                known = ", ".join(spec.name for spec in program.signature.inputs)
                raise InvalidInput(f"there is no input {name!r} to bind", fix=f"the inputs are: {known}")
            tensor = _tensor(value, nested)
            graph.inputs.remove(value)
            value.const_value = tensor
            value.shape = ir.Shape([int(d) for d in tensor.shape.numpy()])
            graph.register_initializer(value)
        return g.changed(program, copy, bool(self.values))


def _tensor(value: ir.Value, nested: Nested) -> ir.TensorProtocol:
    spec = spec_of(value)
    if not isinstance(value.type, ir.TensorType) or value.type.dtype == ir.DataType.STRING:
        raise InvalidInput(f"{spec} cannot be bound", why="only inputs that are tensors of numbers can")
    dtype = value.type.dtype.numpy()
    try:
        given = np.asarray(nested)
        array = given.astype(dtype)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidInput(f"{spec} cannot be bound to {nested!r}", why=str(error)) from error
    if given.dtype.kind not in "biuf" or (array.dtype.kind in "biu" and not np.array_equal(array, given)):
        raise InvalidInput(f"{spec} cannot be bound to {nested!r}", why=f"that is no {spec.dtype}")
    fits = spec.shape is None or len(spec.shape) == array.ndim
    if not fits or any(isinstance(d, int) and d != n for d, n in zip(spec.shape or (), array.shape, strict=False)):
        raise InvalidInput(f"{spec} cannot be bound to {nested!r}", why=f"the value has shape {list(array.shape)}")
    return ir.tensor(array, dtype=value.type.dtype, name=value.name)
