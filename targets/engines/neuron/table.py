"""The form of the op table: what a row says, and the check of a call against its row.

A row is data (versions, dtypes, ranks, constant inputs, attribute values, rules) and one function that lowers. The
function gets `Xla`, the two modules that it may use, as an argument: reading a row, and checking a program against the
table, needs no jax.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from neoc.targets.engines.neuron.calls import Body, Call, Fact

FLOATS = frozenset({"float32", "float16", "bfloat16"})
SIGNED = frozenset({"int8", "int16", "int32", "int64"})
UNSIGNED = frozenset({"uint8", "uint16", "uint32", "uint64"})
INTEGERS = SIGNED | UNSIGNED
NUMBERS = FLOATS | INTEGERS
BOOL = frozenset({"bool"})
ALL = NUMBERS | BOOL

PACKED = {
    **{f"{sign}int{bits}": f"{sign}int8" for sign in ("", "u") for bits in (2, 4)},
    **dict.fromkeys(("float4_e2m1fn", "float8_e4m3fn", "float8_e5m2"), "bfloat16"),
}
"""dtypes that weights may be stored in -> the smallest dtype of the device that holds every value of theirs"""

OPEN_SHAPE = "EMOD025"
"""Neuron's code for a shape that is not static"""

_NO_DTYPE = {
    "float64": ("ESPP004", "Neuron devices have no float64; convert the model to float32"),
    "complex64": ("EVRF004", "write real and imaginary parts as separate tensors"),
    "complex128": ("EVRF004", "write real and imaginary parts as separate tensors"),
    "float8_e4m3fnuz": ("EVRF005", "convert it to float16 or bfloat16"),
    "float8_e5m2fnuz": ("EVRF005", "convert it to float16 or bfloat16"),
    "float8_e4m3fn": ("EVRF051", "convert it to float16 or bfloat16"),
}
"""dtype -> (Neuron's documented error code, what to do instead)"""


class Xla(NamedTuple):
    """What a lowering works with: jax.numpy, jax.lax, and the bodies of a call."""

    np: Any
    lax: Any
    run: Callable[[Body], tuple[Any, ...]]
    """the outputs of one of the call's bodies"""
    derived: Mapping[str, Any]
    """the arrays of Op.derived"""


Lower = Callable[..., Any]
"""(call, xla, *inputs) -> array, or a tuple of arrays. Inputs left out are None; those that the row declares constant
arrive as numpy arrays, the others as traced ones."""


@dataclass(frozen=True)
class In:
    """What one input may be. The last one of a row stands for all that follow."""

    dtypes: frozenset[str] = NUMBERS
    constant: bool = False
    """must be known when the program is lowered: it decides shapes"""
    ranks: tuple[int, int] | None = None
    """smallest and largest"""
    unpacks: frozenset[str] = frozenset()
    """of PACKED, what a constant may be stored in: it is widened before the module is made"""

    def takes(self, fact: Fact) -> bool:
        return fact.dtype in self.dtypes or (fact.tensor is not None and fact.dtype in self.unpacks)


CONSTANT = In(ALL, constant=True)


@dataclass(frozen=True)
class Rule:
    """A constraint that is no table entry. Asked only of calls whose input shapes and constants are all known."""

    broken: Callable[[Call], bool]
    reason: str
    suggestion: str = ""
    code: str = ""


@dataclass(frozen=True)
class Op:
    """A row: one operator."""

    name: str
    versions: tuple[int, int]
    """oldest and newest definition (ONNX's since_version) that the lowering gives"""
    inputs: tuple[In, ...]
    lower: Lower
    attributes: Mapping[str, tuple[object, ...]] = field(default_factory=dict)
    """the values that are implemented, for attributes of which not every value is"""
    outputs: int = 1
    """how many outputs the lowering gives"""
    rules: tuple[Rule, ...] = ()
    domain: str = ""
    derived: Callable[[Call], Mapping[str, np.ndarray]] | None = None
    """large arrays that the lowering reads beside the inputs: they become weights of the program"""
    infer: Callable[[Call], tuple[str, tuple[int, ...]]] | None = None
    """dtype and shape of the output, for operators that ONNX's own inference passes over; the inputs' are known"""

    @property
    def key(self) -> str:
        """As Call.key."""
        return f"{self.domain}.{self.name}" if self.domain else self.name

    def slot(self, index: int) -> In:
        """What the input at `index` may be."""
        return self.inputs[min(index, len(self.inputs) - 1)]


@dataclass(frozen=True)
class Fault:
    """One reason why a call cannot be lowered."""

    reason: str
    suggestion: str = ""
    code: str = ""


def dtype_fault(what: str, dtype: str) -> Fault:
    code, advice = _NO_DTYPE.get(dtype, ("ESPP004", "convert it to float32, float16, bfloat16, integers or bool"))
    return Fault(f"{what} is {dtype}", advice, code)


def faults(call: Call, row: Op) -> Iterator[Fault]:
    """Everything in `call` that `row` does not take."""
    oldest, newest = row.versions
    if not oldest <= call.version <= newest:
        span = f"versions {oldest} to {newest}" if oldest != newest else f"version {oldest}"
        yield Fault(f"this is version {call.version} of the operator; {span} can be lowered", "convert the opset")
    for index, fact in enumerate(call.inputs):
        if fact is None:
            continue
        slot = row.slot(index)
        if not slot.takes(fact) and fact.dtype != "undefined":  # undefined: after a node that nobody knows
            code, advice = _NO_DTYPE.get(fact.dtype, ("", f"convert it to one of {', '.join(sorted(slot.dtypes))}"))
            code = code or ("" if fact.dtype in ALL else "ESPP004")
            yield Fault(f"input {index} ({fact.name!r}) is {fact.dtype}", advice, code)
        if slot.constant and fact.tensor is None:
            yield Fault(f"input {index} ({fact.name!r}) must be known before the program runs", _BIND, OPEN_SHAPE)
        if slot.ranks and fact.shape is not None and not slot.ranks[0] <= len(fact.shape) <= slot.ranks[1]:
            yield Fault(f"input {index} ({fact.name!r}) has rank {len(fact.shape)}, not {_span(slot.ranks)}")
    for name, values in row.attributes.items():
        if name in call.attributes and call.attributes[name] not in values:
            shown = ", ".join(str(v) for v in values)
            yield Fault(f"attribute {name} is {call.attributes[name]!r}; only {shown} can be lowered")
    for index, output in enumerate(call.outputs):
        if output is not None and index >= row.outputs:
            yield Fault(f"its output {index} ({output.name!r}) is not implemented")
        elif output is not None and output.dtype not in (*ALL, "undefined"):
            yield dtype_fault(f"its output {index} ({output.name!r})", output.dtype)
    if all(fact is None or fact.shape is not None for fact in call.inputs) and not _lacks_constants(call, row):
        for rule in row.rules:
            if rule.broken(call):
                yield Fault(rule.reason, rule.suggestion, rule.code)


def _lacks_constants(call: Call, row: Op) -> bool:
    return any(
        fact is not None and fact.tensor is None and row.slot(index).constant for index, fact in enumerate(call.inputs)
    )


_BIND = "make it a constant, or bind all dimensions with --input NAME=SHAPE"


def _span(ranks: tuple[int, int]) -> str:
    return str(ranks[0]) if ranks[0] == ranks[1] else f"{ranks[0]} to {ranks[1]}"
