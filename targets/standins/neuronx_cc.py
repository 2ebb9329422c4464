#!/usr/bin/env python3
"""STAND-IN for neuronx-cc, for tests. It is NOT AWS's compiler, and what it writes is NOT a NEFF.

It takes the documented command line strictly, reads the HLO by a reader of its own, applies the rules that the
documentation names, and writes a marked tar file. It imports the standard library alone, so it shares no code, and so
no mistake, with what it judges. What it accepts is thereby known to be well formed and free of what AWS documents as
refused; whether the real compiler takes it is not known, and it says nothing of speed, memory or accuracy.

Sources: AWS Neuron documentation 2.32, compiler/neuronx-cc/api-reference-guide (command line) and compiler/error-codes;
openxla/xla, xla/service/hlo.proto and xla/xla_data.proto (field numbers). Assumptions: the list of operators, the list
of custom calls, the exit statuses 2 and 70.

It runs only where NEOC_ALLOW_STANDIN=1. NEOC_STANDIN_FAULT makes it fail as compilers do: no-file (status 0 and
nothing written), empty-file, killed (kill -9, as for want of memory), hang, crash (status 1 and a trace).
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import io
import json
import math
import os
import signal
import sys
import tarfile
import time
from collections.abc import Iterator
from typing import Any, NamedTuple, NoReturn

VERSION = "2.27.5334.0+neoc.stand-in"
MARK = "NEOC_STANDIN.json"
TARGETS = ("inf2", "trn1", "trn1n", "trn2")
REJECTED = 70


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


PLAIN = _names(
    """
    abs ceil cosine erf exponential exponential-minus-one floor is-finite log log-plus-one logistic negate not
    round-nearest-afz round-nearest-even rsqrt cbrt sign sine sqrt tan tanh copy reverse
    """
)
BINARY = _names(
    """
    add and atan2 compare divide maximum minimum multiply or power remainder shift-left shift-right-arithmetic
    shift-right-logical subtract xor
    """
)
OPERANDS = {
    **dict.fromkeys(PLAIN, 1), **dict.fromkeys(BINARY, 2), "parameter": 0, "constant": 0, "iota": 0, "clamp": 3,
    "select": 3, "broadcast": 1, "reshape": 1, "transpose": 1, "convert": 1, "bitcast-convert": 1, "slice": 1, "pad": 2,
    "dot": 2, "convolution": 2, "gather": 2, "get-tuple-element": 1, "while": 1, "select-and-scatter": 3,
    "rng-bit-generator": 1,
}  # fmt: skip
OPCODES = frozenset(OPERANDS) | _names(
    """
    all-gather all-reduce all-to-all batch-norm-inference call concatenate conditional custom-call dynamic-slice
    dynamic-update-slice map reduce reduce-scatter reduce-window scatter sort tuple
    """
)
CALLS = {"call": 1, "map": 1, "reduce": 1, "reduce-window": 1, "scatter": 1, "sort": 1, "while": 2, "all-reduce": 1}
CUSTOM_CALLS = _names(
    """
    AwsNeuronErf AwsNeuronGelu AwsNeuronGeluApprxTanh AwsNeuronGeluBackward AwsNeuronSilu AwsNeuronSiluBackward
    AwsNeuronRmsNorm AwsNeuronSoftmax AwsNeuronSoftmaxBackward AwsNeuronCollectiveMatmul
    """
)
TYPES = {
    1: "pred", 2: "s8", 3: "s16", 4: "s32", 5: "s64", 6: "u8", 7: "u16", 8: "u32", 9: "u64", 10: "f16", 11: "f32",
    12: "f64", 13: "tuple", 15: "c64", 16: "bf16", 17: "token", 18: "c128", 19: "f8e5m2", 20: "f8e4m3fn", 21: "s4",
    22: "u4", 23: "f8e4m3b11fnuz", 24: "f8e5m2fnuz", 25: "f8e4m3fnuz", 28: "f8e4m3", 29: "f8e3m4",
}  # fmt: skip
SIZES = {"pred": 1, "s8": 1, "u8": 1, "s16": 2, "u16": 2, "f16": 2, "bf16": 2, "s32": 4, "u32": 4, "f32": 4, "s64": 8,
         "u64": 8}  # fmt: skip
LITERALS = {"pred": 2, "u8": 3, "s32": 4, "s64": 5, "u32": 6, "u64": 7, "f32": 8, "f16": 11, "bf16": 13, "s8": 15,
            "u16": 16, "s16": 17}  # fmt: skip
"""dtype -> field of LiteralProto"""
INT_MAX = 2**31 - 1
LARGEST = 2**32


class Malformed(Exception):
    """The bytes are no well-formed HloModuleProto."""


# ---- the wire format -----------------------------------------------------------------------------


class Message(dict[int, list[int | bytes]]):
    """field number -> list of values: int for numbers, bytes for all else."""

    def __init__(self, data: int | bytes) -> None:
        super().__init__()
        if not isinstance(data, bytes):
            raise Malformed("a number stands where a message belongs")
        at = 0
        while at < len(data):
            tag, at = varint(data, at)
            number, kind = tag >> 3, tag & 7
            if number == 0 or kind not in (0, 1, 2, 5):
                raise Malformed(f"field {number} of wire type {kind}")
            value: int | bytes
            if kind == 0:
                value, at = varint(data, at)
            else:
                size = {1: 8, 5: 4}.get(kind)
                if size is None:
                    size, at = varint(data, at)
                value, at = data[at : at + size], at + size
                if len(value) != size:
                    raise Malformed("a field is truncated")
            self.setdefault(number, []).append(value)

    def number(self, field: int, default: int = 0) -> int:
        value = self.get(field, [default])[-1]
        if not isinstance(value, int):
            raise Malformed(f"field {field} is no number")
        return value - (1 << 64) if value >> 63 else value

    def numbers(self, field: int) -> list[int]:
        found: list[int] = []
        for value in self.get(field, ()):
            if isinstance(value, int):
                found.append(value)
                continue
            at = 0
            while at < len(value):
                one, at = varint(value, at)
                found.append(one)
        return [v - (1 << 64) if v >> 63 else v for v in found]

    def text(self, field: int) -> str:
        value = self.get(field, [b""])[-1]
        try:
            return value.decode("utf-8")  # type: ignore[union-attr]
        except (AttributeError, UnicodeDecodeError):
            raise Malformed(f"field {field} is no text") from None

    def message(self, field: int) -> Message | None:
        return Message(self[field][-1]) if field in self else None

    def messages(self, field: int) -> list[Message]:
        return [Message(value) for value in self.get(field, ())]


def varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise Malformed("a number is truncated")
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


# ---- HLO -----------------------------------------------------------------------------------------


class Shape(NamedTuple):
    dtype: str
    dims: tuple[int, ...]
    dynamic: bool
    members: tuple[Any, ...]


def shape_of(message: Message | None) -> Shape:
    if message is None:
        raise Malformed("an instruction has no shape")
    dtype = TYPES.get(message.number(2), f"unknown type {message.number(2)}")
    dims = tuple(message.numbers(3))
    members = tuple(shape_of(m) for m in message.messages(4))
    if any(d < 0 for d in dims) or (members and dtype != "tuple") or (dims and dtype == "tuple"):
        raise Malformed(f"the shape {dtype}{list(dims)} is impossible")
    dynamic = any(message.numbers(6)) or any(m.dynamic for m in members)
    return Shape(dtype, dims, dynamic, members)


class Instruction:
    def __init__(self, message: Message) -> None:
        self.message = message
        self.name, self.opcode = message.text(1), message.text(2)
        self.id = message.number(35, -1)
        self.shape = shape_of(message.message(3))
        self.operand_ids, self.called = message.numbers(36), message.numbers(38)
        metadata = message.message(7)
        self.source = metadata.text(2) if metadata is not None else ""
        window = message.message(15)
        self.window = window.messages(1) if window is not None else []

    def most(self, field: int) -> int:
        """The largest value of a field over the window's dimensions; 1 where it is left out."""
        return max((dim.number(field, 1) for dim in self.window), default=1)


class Computation:
    def __init__(self, message: Message) -> None:
        self.name, self.id, self.root_id = message.text(1), message.number(5, -1), message.number(6, -1)
        self.instructions = [Instruction(m) for m in message.messages(2)]
        self.program_shape = message.message(4)


class Module:
    def __init__(self, data: bytes) -> None:
        message = Message(data)
        self.computations = [Computation(m) for m in message.messages(3)]
        self.entry_id = message.number(6, -1)
        self.entry = next((c for c in self.computations if c.id == self.entry_id), None)
        if not self.computations or self.entry is None:
            raise Malformed("it has no entry computation")
        if message.text(2) not in ("", self.entry.name):
            raise Malformed(f"the entry computation is called {self.entry.name!r}, not {message.text(2)!r}")
        if len({c.id for c in self.computations}) < len(self.computations):
            raise Malformed("two computations have one id")


Known = dict[int, Computation]
Findings = Iterator[tuple[str, str]]


# ---- rules: every one yields (code, message) ------------------------------------------------------


def check(module: Module, target: str) -> list[str]:
    """Lines as the compiler's documentation has them. Raises Malformed for what no HLO can be."""
    known = {c.id: c for c in module.computations}
    said: list[str] = []
    for computation in module.computations:
        seen: dict[int, Instruction] = {}
        for one in computation.instructions:
            for operand in one.operand_ids:
                if operand not in seen:
                    raise Malformed(f"{one.name} takes {operand}, which is not made before it")
            for called in one.called:
                if called not in known or called == computation.id:
                    raise Malformed(f"{one.name} calls {called}, which is no other computation")
            if one.id in seen or not one.name:
                raise Malformed(f"{one.name or 'an instruction'} has no name, or an id that is taken")
            operands = [seen[i] for i in one.operand_ids]
            seen[one.id] = one
            for code, text in (*structure(one, operands, known), *documented(one, operands, known, target)):
                said.append(
                    f"[{code}] NCC_{code}: {text} ({one.opcode} {one.name}{' from ' * bool(one.source)}{one.source})"
                )
        if computation.root_id not in seen:
            raise Malformed(f"computation {computation.name!r} has no root")
        signature(computation, seen[computation.root_id])
    return list(dict.fromkeys(said))


def signature(computation: Computation, root: Instruction) -> None:
    """The parameters must be numbered from 0, and agree with the program shape. Raises Malformed."""
    parameters = sorted((i.message.number(9), i.shape) for i in computation.instructions if i.opcode == "parameter")
    if [number for number, _ in parameters] != list(range(len(parameters))):
        raise Malformed(f"the parameters of {computation.name!r} are not numbered from 0 to {len(parameters) - 1}")
    if computation.program_shape is None:
        raise Malformed(f"computation {computation.name!r} has no program shape")
    declared = [shape_of(m) for m in computation.program_shape.messages(1)]
    if declared != [shape for _, shape in parameters] or shape_of(computation.program_shape.message(2)) != root.shape:
        raise Malformed(f"the program shape of {computation.name!r} is not that of its instructions")


def structure(one: Instruction, operands: list[Instruction], known: Known) -> Findings:
    """What XLA's own verifier asks of the operators that the rules below know."""
    count, op, dims = len(operands), one.opcode, one.shape.dims
    if op in OPERANDS and count != OPERANDS[op]:
        yield "EVRF001", f"takes {OPERANDS[op]} operands, not {count}"
        return
    if op in CALLS and len(one.called) != CALLS[op]:
        yield "EVRF001", f"calls {CALLS[op]} computations, not {len(one.called)}"
        return
    shapes = [o.shape for o in operands]
    elementwise = op in PLAIN or op in BINARY or op in ("select", "convert")
    if elementwise and any(s.dims != dims for s in shapes if s.dtype != "tuple"):
        yield "EVRF001", "has operands of other shapes than its own"
    if op in BINARY and op not in ("compare",) and any(s.dtype != one.shape.dtype for s in shapes):
        yield "EVRF001", "has operands of other dtypes than its own"
    if op == "compare" and (one.shape.dtype != "pred" or shapes[0].dtype != shapes[1].dtype):
        yield "EVRF001", "compares two dtypes, or gives no booleans"
    if op == "select" and (shapes[0].dtype != "pred" or {shapes[1].dtype, shapes[2].dtype} != {one.shape.dtype}):
        yield "EVRF001", "selects between two dtypes, or by no booleans"
    if op == "reshape" and math.prod(shapes[0].dims) != math.prod(dims):
        yield "EVRF001", "changes the number of elements"
    if op in ("reshape", "transpose", "broadcast", "slice", "reverse", "copy") and shapes[0].dtype != one.shape.dtype:
        yield "EVRF001", "changes the dtype"
    if op == "transpose" and tuple(shapes[0].dims[i] for i in permutation(one, len(shapes[0].dims))) != dims:
        yield "EVRF001", "does not permute its operand's dimensions"
    if op == "broadcast":
        where = one.message.numbers(14)
        fits = len(where) == len(shapes[0].dims) and all(0 <= w < len(dims) for w in where)
        if not fits or tuple(dims[w] for w in where) != shapes[0].dims:
            yield "EVRF001", "does not broadcast its operand's dimensions"
    if op == "concatenate" and not concatenated(one, shapes):
        yield "EVRF001", "is not its operands one after another"
    if op == "tuple" and one.shape.members != tuple(shapes):
        yield "EVRF001", "is not the tuple of its operands"
    if op == "get-tuple-element":
        index = one.message.number(13)
        if not 0 <= index < len(shapes[0].members) or shapes[0].members[index] != one.shape:
            yield "EVRF001", "takes what the tuple does not have"
    if op in ("call", "map") and operands and op == "call":
        root = root_of(known[one.called[0]])
        if root is not None and root.shape != one.shape:
            yield "EVRF001", "is not what the computation gives"
    if op == "constant" and not complete(one):
        yield "EVRF001", "has a literal of another size or dtype"


def permutation(one: Instruction, rank: int) -> list[int]:
    order = one.message.numbers(14)
    return order if sorted(order) == list(range(rank)) else []


def concatenated(one: Instruction, shapes: list[Shape]) -> bool:
    axes = one.message.numbers(14)
    if len(axes) != 1 or not shapes or not 0 <= axes[0] < len(one.shape.dims):
        return False
    axis, dims = axes[0], one.shape.dims
    alike = all(
        len(s.dims) == len(dims)
        and s.dtype == one.shape.dtype
        and all(a == b for i, (a, b) in enumerate(zip(s.dims, dims, strict=True)) if i != axis)
        for s in shapes
    )
    return alike and sum(s.dims[axis] for s in shapes) == dims[axis]


def root_of(computation: Computation) -> Instruction | None:
    return next((i for i in computation.instructions if i.id == computation.root_id), None)


def complete(one: Instruction) -> bool:
    """Whether a constant has a literal of its own shape with as many bytes as that takes."""
    literal = one.message.message(8)
    if literal is None:
        return False
    own, dtype, dims = shape_of(literal.message(1)), one.shape.dtype, one.shape.dims
    if (own.dtype, own.dims) != (dtype, dims):
        return False
    if dtype not in LITERALS:
        return True  # refused elsewhere
    values = literal.get(LITERALS[dtype], [])
    if dtype in ("s32", "s64", "u32", "u64", "pred"):
        return len(literal.numbers(LITERALS[dtype])) == math.prod(dims)
    return sum(len(v) if isinstance(v, bytes) else 4 for v in values) == math.prod(dims) * SIZES[dtype]


def documented(one: Instruction, operands: list[Instruction], known: Known, target: str) -> Findings:
    """The error codes of compiler/error-codes that a module can show."""
    op, dtype = one.opcode, one.shape.dtype
    base, dilation, stride = one.most(6), one.most(5), one.most(2)
    integer = dtype[0] in "su" and dtype[1:].isdecimal()
    first = operands[0].shape.dtype if operands else ""
    rows = (
        ("EMOD025", one.shape.dynamic, "dynamic shapes are not supported"),
        ("EVRF001", op not in OPCODES, "the operator is not supported"),
        ("EVRF004", dtype in ("c64", "c128"), f"complex type {dtype}"),
        ("EVRF005", dtype in ("f8e4m3fnuz", "f8e4m3b11fnuz", "f8e5m2fnuz"), f"type {dtype} is not supported"),
        ("EVRF051", dtype == "f8e4m3fn", f"F8E4M3FN is not supported on {target}"),
        ("ESPP004", dtype not in (*SIZES, "f8e5m2", "f8e4m3", "f8e4m3fn", "tuple", "token", "c64", "c128")
         and not dtype.endswith("fnuz"), f"data type {dtype} is not supported for code generation"),
        ("EVRF010", op == "convolution" and base > 1 and dilation > 1, "input and kernel dilation together"),
        ("EVRF011", op == "convolution" and base > 1 and stride > 1, "a strided convolution with a dilated input"),
        ("EVRF015", op == "custom-call" and one.message.text(28) not in CUSTOM_CALLS,
         f"custom call target {one.message.text(28)!r} is not recognized"),
        ("EVRF016", op == "scatter" and (integer or dtype == "pred") and combines(one, known),
         "a scatter that reduces integers"),
        ("EVRF017", op == "reduce-window" and base > 1, "base dilation above 1"),
        ("EVRF018", op == "reduce-window" and dilation > 1, "window dilation above 1"),
        ("EVRF019", op == "reduce-window" and len(operands) != 2, "needs exactly 2 operands"),
        ("EVRF022", op == "shift-right-arithmetic" and dtype not in ("s32", "u32"),
         "an arithmetic shift of other than 32 bits"),
        ("EVRF024", one.shape.dtype in SIZES and math.prod(one.shape.dims) * SIZES[one.shape.dtype] > LARGEST,
         "the result is larger than 4 GB"),
        ("EVRF035", op == "dot" and first in ("s64", "u64"), "a matrix product of 64-bit integers"),
        ("EVRF062", op == "power" and first in ("s64", "u64"), "a power of 64-bit integers"),
        ("EARG001", not 0 <= one.id <= INT_MAX, f"id {one.id} does not fit 32 bits"),
    )  # fmt: skip
    yield from ((code, text) for code, broken, text in rows if broken)


def combines(one: Instruction, known: Known) -> bool:
    """Whether the update computation makes something of its arguments."""
    return any(i.opcode not in ("parameter", "tuple", "copy") for c in one.called for i in known[c].instructions)


# ---- the command line ----------------------------------------------------------------------------


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        sys.stderr.write(f"neuronx-cc: error: {message}\n")
        sys.exit(2)


def parsed(words: list[str]) -> tuple[Parser, argparse.Namespace]:
    parser = Parser(prog="neuronx-cc", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"NeuronX Compiler version {VERSION}")
    commands = parser.add_subparsers(dest="command", required=True, parser_class=Parser)
    one = commands.add_parser("compile", allow_abbrev=False)
    one.add_argument("modules", nargs="+")
    one.add_argument("--framework", required=True, choices=["XLA"])
    one.add_argument("--target", required=True, choices=TARGETS)
    one.add_argument("--model-type", default="generic", choices=["generic", "transformer", "unet-inference"])
    one.add_argument("--auto-cast", default="none", choices=["none", "matmult", "all"])
    one.add_argument("--auto-cast-type", default="bf16", choices=["bf16", "fp16", "tf32", "fp8_e4m3"])
    one.add_argument("--optlevel", "-O", default="2", choices=list("123"))
    one.add_argument("--logical-nc-config", "-lnc", "--lnc", dest="lnc", choices=["1", "2"])
    one.add_argument("--native-int64", choices=["default", "enabled", "disabled"])
    one.add_argument("--implicit-integer-downcast")
    one.add_argument("--distribution-strategy", choices=["llm-training"])
    for flag in ("disable-mixed-precision-accumulation", "enable-mixed-precision-accumulation",
                 "enable-saturate-infinity", "enable-fast-context-switch",
                 "enable-fast-loading-neuron-binaries"):  # fmt: skip
        one.add_argument(f"--{flag}", action="store_true")
    one.add_argument("--logfile", default="log-neuron-cc.txt")
    one.add_argument("--output", default="file.neff")
    one.add_argument("--verbose", default="user")
    listing = commands.add_parser("list-operators", allow_abbrev=False)
    listing.add_argument("--framework", required=True, choices=["XLA"])
    return parser, parser.parse_args(words)


def refuse(message: str) -> NoReturn:
    sys.stderr.write(message.rstrip("\n") + "\n")
    sys.exit(REJECTED)


def fault(kind: str, output: str) -> NoReturn:
    if kind == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "hang":
        time.sleep(3600)
    if kind == "crash":
        raise RuntimeError("internal compiler error (asked for by NEOC_STANDIN_FAULT)")
    if kind == "empty-file":
        open(output, "wb").close()
    sys.exit(0 if kind in ("no-file", "empty-file") else 2)


def main(words: list[str]) -> None:
    if os.environ.get("NEOC_ALLOW_STANDIN") != "1":
        sys.stderr.write("this is neoc's stand-in for neuronx-cc; it runs only where NEOC_ALLOW_STANDIN=1\n")
        sys.exit(3)
    parser, given = parsed(words)
    if given.command == "list-operators":
        print("\n".join(sorted(OPCODES)))
        return
    if len(given.modules) != 1:
        parser.error("with --framework XLA exactly one file is taken")
    if given.lnc == "2" and given.target != "trn2":
        refuse(f"NCC_EARG001: logical NeuronCore size 2 is not supported on {given.target}")
    if kind := os.environ.get("NEOC_STANDIN_FAULT"):
        fault(kind, given.output)
    try:
        with open(given.modules[0], "rb") as file:
            data = file.read()
        module = Module(data)
        errors = check(module, given.target)
    except (OSError, Malformed, RecursionError) as error:
        refuse(f"cannot parse {given.modules[0]} as HloModuleProto: {error}")
    if errors:
        refuse("\n".join(errors))
    facts = {
        "stand_in": True,
        "not_a_neff": "made by neoc's stand-in for neuronx-cc; the Neuron runtime cannot load it",
        "version": VERSION,
        "target": given.target,
        "arguments": words[:1] + [w for w in words[2:] if "/" not in w],
        "hlo_sha256": hashlib.sha256(data).hexdigest(),
        "opcodes": dict(
            sorted(collections.Counter(i.opcode for c in module.computations for i in c.instructions).items())
        ),
    }
    with tarfile.open(given.output, "w") as archive:
        for name, content in ((MARK, json.dumps(facts, indent=1).encode()), ("hlo.pb", data)):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


if __name__ == "__main__":
    main(sys.argv[1:])
