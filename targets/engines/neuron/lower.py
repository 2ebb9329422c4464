"""Program -> HLO module: the calls are traced through the op table by jax, and its HLO is taken as bytes.

Weights are parameters of the module, so that it stays small whatever the model weighs. Shapes are static. Integers keep
their 64 bits (jax's x64 mode): the module says what the model says, and narrowing is the compiler's, by its own rules.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from neoc.compile.contracts import Signature, TensorSpec, dtype_of
from neoc.compile.errors import InternalError
from neoc.compile.program import Program
from neoc.targets.engines.neuron import hlo
from neoc.targets.engines.neuron.calls import Body, Call, Fact, calls_of, fact_of, prepared, walk
from neoc.targets.engines.neuron.ops import TABLE
from neoc.targets.engines.neuron.table import PACKED, Xla

INLINE_ELEMENTS = 16
"""constants up to this size are written into the module; larger ones become parameters"""

MODULE_NAME = "neoc"


@dataclass(frozen=True)
class Lowered:
    """An HLO module and what its parameters and results are."""

    module: bytes
    """HloModuleProto"""
    parameters: tuple[TensorSpec, ...]
    """in order: first the weights, then the inputs that the outputs depend on"""
    weights: Mapping[str, np.ndarray]
    """the values of those parameters that are weights, in order"""
    results: tuple[TensorSpec, ...]
    dropped: tuple[str, ...]
    """inputs of the program that no output depends on: they are no parameters"""


def lower(program: Program) -> Lowered:
    """Lower a program without gaps: every call has a row that takes it, every shape is static.

    Raises InternalError where the traced shapes are not those that the program declares.
    """
    program = prepared(program)
    signature = program.signature
    calls = calls_of(program)
    weights = _weights(calls, program)
    specs = [TensorSpec(name, *_described(value)) for name, value in weights.items()]
    specs += signature.inputs
    outputs = [fact_of(v) for v in program.model.graph.outputs]

    # Which parameters matter is known once the module is there: traced first with all of them, then without the rest.
    first = _traced(calls, outputs, specs, specs)
    used = hlo.read(first).used_parameters()
    kept = [spec for number, spec in enumerate(specs) if number in used]
    module = first if len(kept) == len(specs) else _traced(calls, outputs, kept, specs)
    names = {spec.name for spec in kept}
    lowered = Lowered(
        hlo.normalised(module, MODULE_NAME),
        tuple(kept),
        {name: value for name, value in weights.items() if name in names},
        signature.outputs,
        tuple(spec.name for spec in signature.inputs if spec.name not in names),
    )
    _agree(lowered, signature)
    return lowered


def _weights(calls: Sequence[Call], program: Program) -> dict[str, np.ndarray]:
    """The large constants that are read as data, in graph order."""
    found: dict[str, np.ndarray] = {}
    for call in walk(calls):
        row = TABLE[call.key]
        for index, fact in enumerate(call.inputs):
            if fact is None or fact.tensor is None or row.slot(index).constant:
                continue
            if fact.size > INLINE_ELEMENTS:
                found.setdefault(fact.name, _unpacked(fact))
        if row.derived is not None:
            found |= {_derived_name(call, name): value for name, value in row.derived(call).items()}
    for fact in map(fact_of, program.model.graph.outputs):
        if fact.tensor is not None and fact.size > INLINE_ELEMENTS:
            found.setdefault(fact.name, fact.tensor.numpy())
    return found


def _unpacked(fact: Fact) -> np.ndarray:
    """The constant, in a dtype that the device has."""
    value = fact.value
    assert value is not None
    return value.astype(dtype_of(PACKED[fact.dtype])) if fact.dtype in PACKED else value


def _described(value: np.ndarray) -> tuple[str, tuple[int, ...]]:
    return value.dtype.name, value.shape


def _traced(
    calls: Sequence[Call], outputs: Sequence[Fact], kept: Sequence[TensorSpec], specs: Sequence[TensorSpec]
) -> bytes:
    """The module with `kept` as its parameters, as jax writes it. The rest of `specs` must not matter."""
    import jax

    run = _function(calls, outputs, [spec.name for spec in kept], specs)
    struct: Any = jax.ShapeDtypeStruct
    shapes = [struct(spec.shape, dtype_of(spec.dtype)) for spec in kept]
    with jax.enable_x64(True):
        # lowered for CPU, whose rules stay closest to plain HLO; a parameter stays one, used or not
        traced = jax.jit(run, keep_unused=True).trace(*shapes)
        computation = traced.lower(lowering_platforms=("cpu",)).compiler_ir("hlo")
    return bytes(computation.as_serialized_hlo_module_proto())


def _function(
    calls: Sequence[Call], outputs: Sequence[Fact], names: Sequence[str], specs: Sequence[TensorSpec]
) -> Callable[..., tuple[Any, ...]]:
    from jax import lax
    from jax import numpy as jnp

    def nothing(body: Body) -> tuple[Any, ...]:
        raise AssertionError("only a call with bodies runs them")

    xla = Xla(jnp, lax, nothing, {})

    def run(*parameters: Any) -> tuple[Any, ...]:
        known: dict[str, Any] = dict(zip(names, parameters, strict=True))
        for spec in specs:
            if spec.name not in known:
                known[spec.name] = jnp.zeros(spec.shape, dtype_of(spec.dtype))
        _execute(calls, xla, known)
        return tuple(_tensor(fact, xla, known) for fact in outputs)

    return run


def _execute(calls: Sequence[Call], xla: Xla, known: dict[str, Any]) -> None:
    """Adds what the calls give to what is known."""
    import jax

    for call in calls:
        with jax.named_scope(_scope(call)):
            results = _apply(call, xla, known)
        for fact, result in zip(call.outputs, results, strict=False):
            if fact is not None:
                known[fact.name] = result


def _apply(call: Call, xla: Xla, known: Mapping[str, Any]) -> tuple[Any, ...]:
    row = TABLE[call.key]
    arguments: list[Any] = []
    for index, fact in enumerate(call.inputs):
        if fact is None:
            arguments.append(None)
        else:
            arguments.append(fact.value if row.slot(index).constant else _tensor(fact, xla, known))

    def run(body: Body) -> tuple[Any, ...]:
        inner = dict(known)
        _execute(body.calls, xla, inner)
        return tuple(_tensor(fact, xla, inner) for fact in body.outputs)

    derived = {name: known[_derived_name(call, name)] for name in (row.derived(call) if row.derived else ())}
    result = row.lower(call, xla._replace(run=run, derived=derived), *arguments)
    return result if isinstance(result, tuple) else (result,)


def _derived_name(call: Call, name: str) -> str:
    return f"{call.node}:{name}"


def _tensor(fact: Fact, xla: Xla, known: Mapping[str, Any]) -> Any:
    return known[fact.name] if fact.name in known else xla.np.asarray(_unpacked(fact))


def _scope(call: Call) -> str:
    """What the instructions of a call are known by, down to the compiler's own messages."""
    return f"{call.key}:{call.node}".replace("/", ".")


def _agree(lowered: Lowered, signature: Signature) -> None:
    """Check the module's results against the program's. Raises InternalError."""
    for spec, shape in zip(signature.outputs, hlo.read(lowered.module).results(), strict=True):
        wanted = (_HLO_DTYPES.get(spec.dtype, spec.dtype), spec.shape)
        if wanted != (shape.dtype, shape.dims):
            raise InternalError(
                "the lowered module gives another shape than the model",
                where=f"output {spec.name!r}",
                why=f"{shape}, not {spec}",
                fix="report it with the model",
            )


_HLO_DTYPES = {
    "bool": "pred", "float32": "f32", "float16": "f16", "bfloat16": "bf16",
    **{f"int{n}": f"s{n}" for n in (8, 16, 32, 64)},
    **{f"uint{n}": f"u{n}" for n in (8, 16, 32, 64)},
}  # fmt: skip
