"""What in a program cannot be lowered, each thing once, answered from the op table without jax or the compiler."""

from __future__ import annotations

from collections.abc import Iterator

from neoc.compile.contracts import Gap, Target
from neoc.compile.program import Program
from neoc.targets.engines.neuron.calls import Call, Fact, calls_of, prepared, walk
from neoc.targets.engines.neuron.ops import CONTROL, TABLE, UNBOUNDED
from neoc.targets.engines.neuron.preflight import opcodes, rules_here
from neoc.targets.engines.neuron.table import ALL, OPEN_SHAPE, Fault, dtype_fault, faults

_REWRITE = "write it with operators that can be lowered (docs/inferentia.md lists them), or choose another target"
_PLUMBING = frozenset(
    {"broadcast", "call", "constant", "convert", "get-tuple-element", "iota", "parameter", "reshape", "tuple"}
)
LARGEST_RESULT = 4 << 30
"""bytes: NCC_EVRF024"""


def find_gaps(program: Program, engine: str, target: Target | None = None) -> tuple[Gap, ...]:
    """Inputs in order, then nodes in graph order; nodes that no output depends on do not count.

    While inputs have open dimensions, what follows from those alone is left out: binding them may well cure it.
    """
    program = prepared(program)
    calls = tuple(walk(calls_of(program)))
    gaps = [
        Gap(engine, spec.name, "", fault.reason, "", fault.suggestion, fault.code, "parameter")
        for spec in program.signature.inputs
        for fault in _input_faults(spec.name, spec.dtype, spec.shape)
    ]
    is_open = any(gap.code == OPEN_SHAPE for gap in gaps)
    for call in calls:
        gaps += [
            _gap(engine, call, fault)
            for fault in _faults(call)
            if not (is_open and fault.code == OPEN_SHAPE and call.key in TABLE)
        ]
    gaps += [
        Gap(engine, spec.name, "", fault.reason, "", fault.suggestion, fault.code, "constant")
        for spec in program.signature.outputs
        if spec.dtype not in ALL and not gaps
        for fault in [dtype_fault(f"output {spec.name!r}", spec.dtype)]
    ]
    if target is not None:
        gaps += [Gap(engine, "", "", f.reason, "", f.suggestion, f.code) for f in _size_faults(calls, target)]
    return tuple(gaps)


def _gap(engine: str, call: Call, fault: Fault) -> Gap:
    suggestion = fault.suggestion or _REWRITE
    return Gap(engine, call.node, call.operator, fault.reason, call.where, suggestion, fault.code, _lowered(call))


def _lowered(call: Call) -> str:
    """The opcodes that say what the operator becomes; '' for one without a row."""
    row = opcodes().get(call.key)
    if row is None:
        return ""
    telling = [name for name in row.always if name not in _PLUMBING] or list(row.always)
    return "+".join(telling)


def _input_faults(name: str, dtype: str, shape: tuple[object, ...] | None) -> Iterator[Fault]:
    if shape is None or not all(isinstance(d, int) for d in shape):
        shown = "?" if shape is None else ",".join("?" if d is None else str(d) for d in shape)
        reason = f"input {name!r} is [{shown}]: Neuron programs have static shapes"
        yield Fault(reason, f"bind it with --input {name}=SIZES", OPEN_SHAPE)
    if dtype not in ALL:
        yield dtype_fault(f"input {name!r}", dtype)


def _faults(call: Call) -> Iterator[Fault]:
    if call.key in TABLE:
        found = [*faults(call, TABLE[call.key]), *_unlisted(call)]
        yield from found
        if not found and _opens(call):
            yield Fault("the shape of its result is not known before the program runs", "", OPEN_SHAPE)
        yield from _large_results(call)
    elif call.domain:
        yield Fault(f"operators of {call.domain} cannot be lowered", "", "EVRF001")
    elif call.operator in CONTROL:
        yield Fault(
            "a loop whose trip count depends on data, or that would become more than 8192 nodes, cannot be lowered",
            "bind the inputs that decide it to constants",
            OPEN_SHAPE,
        )
    elif call.operator in UNBOUNDED:
        yield Fault("the data decide how many elements it gives: Neuron programs have static shapes", "", OPEN_SHAPE)
    else:
        yield Fault("there is no lowering for this operator", "", "EVRF001")


def _unlisted(call: Call) -> Iterator[Fault]:
    """Opcodes that the operator always becomes and the compiler, where it was asked, does not list."""
    rules, row = rules_here(), opcodes().get(call.key)
    lacking = [] if row is None else [name for name in row.always if name not in rules.opcodes]
    if lacking:
        yield Fault(
            f"it becomes HLO {', '.join(lacking)}, which is not among the operators of {rules.name}", "", "EVRF001"
        )


def _opens(call: Call) -> bool:
    """Whether all of its inputs have static shapes and some of its outputs do not."""
    closed = all(fact is None or fact.shape is not None for fact in call.inputs)
    return closed and any(fact is not None and fact.shape is None for fact in call.outputs)


# ---- sizes -------------------------------------------------------------------------------------------

_BYTES = {"bool": 1, "bfloat16": 2, "float16": 2, "float32": 4}
_BYTES |= {f"{sign}int{bits}": bits // 8 for sign in ("", "u") for bits in (8, 16, 32, 64)}


def _bytes(fact: Fact | None) -> int:
    return 0 if fact is None or fact.shape is None else fact.size * _BYTES.get(fact.dtype, 0)


def _large_results(call: Call) -> Iterator[Fault]:
    for fact in call.outputs:
        if _bytes(fact) > LARGEST_RESULT:
            yield Fault(f"its result is {_bytes(fact) / 2**30:.1f} GiB, more than 4", "use a smaller batch", "EVRF024")


def _size_faults(calls: tuple[Call, ...], target: Target) -> Iterator[Fault]:
    weights = {f.name: _bytes(f) for call in calls for f in call.inputs if f is not None and f.tensor is not None}
    total = sum(weights.values())
    if target.memory_bytes is not None and total > target.memory_bytes:
        have = f"{total / 2**30:.1f} GiB of weights for {target.memory_bytes / 2**30:.0f} GiB of the chip's memory"
        yield Fault(f"the model does not fit: {have}", "use a smaller dtype, or split the model", "EOOM001")
