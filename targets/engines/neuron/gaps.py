"""What in a program cannot be lowered, each thing once, answered from the op table without jax."""

from __future__ import annotations

from collections.abc import Iterator

from neoc.compile.contracts import Gap
from neoc.compile.program import Program
from neoc.targets.engines.neuron.calls import Call, calls_of
from neoc.targets.engines.neuron.ops import CONTROL, TABLE, UNBOUNDED
from neoc.targets.engines.neuron.table import ALL, OPEN_SHAPE, Fault, faults

_REWRITE = "write it with operators that can be lowered (docs: the op table), or choose another target"


def find_gaps(program: Program, engine: str) -> tuple[Gap, ...]:
    """Inputs in order, then nodes in graph order; nodes that no output depends on do not count.

    While inputs have open dimensions, what follows from those alone is left out: binding them may well cure it.
    """
    gaps = [
        Gap(engine, spec.name, "", fault.reason, suggestion=fault.suggestion, code=fault.code)
        for spec in program.signature.inputs
        for fault in _input_faults(spec.name, spec.dtype, spec.shape)
    ]
    is_open = any(gap.code == OPEN_SHAPE for gap in gaps)
    for call in calls_of(program):
        gaps += [
            Gap(engine, call.node, call.operator, fault.reason, call.where, fault.suggestion or _REWRITE, fault.code)
            for fault in _faults(call)
            if not (is_open and fault.code == OPEN_SHAPE and call.operator in TABLE)
        ]
    return tuple(gaps)


def _input_faults(name: str, dtype: str, shape: tuple[object, ...] | None) -> Iterator[Fault]:
    if shape is None or not all(isinstance(d, int) for d in shape):
        shown = "?" if shape is None else ",".join("?" if d is None else str(d) for d in shape)
        reason = f"input {name!r} is [{shown}]: Neuron programs have static shapes"
        yield Fault(reason, f"bind it with --input {name}=SIZES", OPEN_SHAPE)
    if dtype not in ALL:
        yield Fault(f"input {name!r} is {dtype}", "convert the model to float32, float16, bfloat16 or integers")


def _faults(call: Call) -> Iterator[Fault]:
    if call.domain:
        yield Fault(f"operators of {call.domain} cannot be lowered")
    elif call.operator in CONTROL:
        yield Fault(
            "control flow that depends on data cannot be lowered", "bind the inputs that decide it to constants"
        )
    elif call.operator in UNBOUNDED:
        yield Fault("the data decide how many elements it gives: Neuron programs have static shapes", "", OPEN_SHAPE)
    elif call.operator not in TABLE:
        yield Fault("there is no lowering for this operator")
    else:
        found = list(faults(call, TABLE[call.operator]))
        yield from found
        if not found and _opens(call):
            yield Fault("the shape of its result is not known before the program runs", "", OPEN_SHAPE)


def _opens(call: Call) -> bool:
    """Whether all of its inputs have static shapes and some of its outputs do not."""
    closed = all(fact is None or fact.shape is not None for fact in call.inputs)
    return closed and any(fact is not None and fact.shape is None for fact in call.outputs)
