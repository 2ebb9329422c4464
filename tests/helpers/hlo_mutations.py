"""Good HLO modules made bad, one thing at a time, on the protobuf wire format."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import onnx

Tree = dict[int, list[Any]]
"""field number -> values: int for varints, bytes for all else; what was opened is a Tree again"""

NAME, OPCODE, SHAPE, LITERAL, PARAMETER, INDEX, DIMENSIONS, WINDOW = 1, 2, 3, 8, 9, 13, 14, 15
TARGET, ID, OPERANDS, CALLED = 28, 35, 36, 38
DTYPE, DIMS, DYNAMIC = 2, 3, 6
F64, C64, FP8_FNUZ, FP8_FN, S4, S32, F32, PRED, S64 = 12, 15, 24, 20, 21, 4, 11, 1, 5


# ---- the wire --------------------------------------------------------------------------------------


def varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    out = bytearray()
    while True:
        byte, number = number & 127, number >> 7
        out.append(byte | (128 if number else 0))
        if not number:
            return bytes(out)


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def decode(data: bytes) -> Tree:
    tree: Tree = {}
    at = 0
    while at < len(data):
        tag, at = read_varint(data, at)
        if tag & 7 == 0:
            value, at = read_varint(data, at)
            tree.setdefault(tag >> 3, []).append(value)
        else:
            size = {1: 8, 5: 4}.get(tag & 7)
            if size is None:
                size, at = read_varint(data, at)
            tree.setdefault(tag >> 3, []).append(data[at : at + size])
            at += size
    return tree


def encode(tree: Tree) -> bytes:
    out = bytearray()
    for field, values in tree.items():
        for value in values:
            if isinstance(value, int):
                out += varint(field << 3) + varint(value)
            else:
                content = encode(value) if isinstance(value, dict) else value
                out += varint(field << 3 | 2) + varint(len(content)) + content
    return bytes(out)


def packed(*numbers: int) -> bytes:
    return b"".join(varint(number) for number in numbers)


def unpacked(values: list[Any]) -> list[int]:
    found = []
    for value in values:
        if isinstance(value, int):
            found.append(value)
            continue
        at = 0
        while at < len(value):
            number, at = read_varint(value, at)
            found.append(number)
    return found


# ---- edits -----------------------------------------------------------------------------------------

Edit = Callable[[Tree], None]


def module(edit: Edit) -> Callable[[bytes], bytes]:
    """Edit the HloModuleProto."""

    def mutate(data: bytes) -> bytes:
        tree = decode(data)
        edit(tree)
        return encode(tree)

    return mutate


def entry(edit: Edit) -> Callable[[bytes], bytes]:
    """Edit the entry computation."""

    def change(tree: Tree) -> None:
        for at, raw in enumerate(tree[3]):
            computation = decode(raw)
            if computation[5] == tree[6]:
                edit(computation)
                tree[3][at] = encode(computation)

    return module(change)


def instruction(opcode: str, edit: Edit) -> Callable[[bytes], bytes]:
    """Edit the first instruction with this opcode in the entry computation."""

    def change(computation: Tree) -> None:
        for at, raw in enumerate(computation[2]):
            one = decode(raw)
            if one[OPCODE] == [opcode.encode()]:
                edit(one)
                computation[2][at] = encode(one)
                return
        raise AssertionError(f"the module has no {opcode}")

    return entry(change)


def put(field: int, *values: Any) -> Edit:
    return lambda tree: tree.update({field: list(values)})


def drop(field: int) -> Edit:
    return lambda tree: void(tree.pop(field))


def void(_: Any) -> None:
    return None


def shape(edit: Edit) -> Edit:
    def change(one: Tree) -> None:
        inner = decode(one[SHAPE][0])
        edit(inner)
        one[SHAPE] = [encode(inner)]

    return change


def dims(change: Callable[[list[int]], list[int]]) -> Edit:
    return shape(lambda inner: inner.update({DIMS: [packed(*change(unpacked(inner.get(DIMS, []))))]}))


def window(field: int, value: int) -> Edit:
    def change(one: Tree) -> None:
        inner = decode(one[WINDOW][0])
        inner[1] = [encode({**decode(dim), field: [value]}) for dim in inner[1]]
        one[WINDOW] = [encode(inner)]

    return change


def both(*edits: Edit) -> Edit:
    def change(tree: Tree) -> None:
        for edit in edits:
            edit(tree)

    return change


def operands(change: Callable[[list[int]], list[int]]) -> Edit:
    return lambda one: one.update({OPERANDS: [packed(*change(unpacked(one.get(OPERANDS, []))))]})


def _swapped(computation: Tree) -> None:
    computation[2].reverse()


def _literal(one: Tree) -> None:
    literal = decode(one[LITERAL][0])
    one[LITERAL] = [encode({1: literal[1]})]


def _result(computation: Tree) -> None:
    declared = decode(computation[4][0])
    result = decode(declared[2][0])
    result[4].pop()
    declared[2] = [encode(result)]
    computation[4] = [encode(declared)]


def _argument(computation: Tree) -> None:
    declared = decode(computation[4][0])
    declared[1].pop()
    computation[4] = [encode(declared)]


def _same_ids(tree: Tree) -> None:
    first, second = decode(tree[3][0]), decode(tree[3][1])
    second[5] = first[5]
    tree[3][1] = encode(second)


@dataclass(frozen=True)
class Mutation:
    name: str
    make: Callable[[bytes], bytes]
    said: str
    """what the compiler says of it: a code, or words"""


def _on(name: str, opcode: str, edit: Edit, said: str) -> Mutation:
    return Mutation(f"{opcode}: {name}", instruction(opcode, edit), said)


MUTATIONS: tuple[Mutation, ...] = (
    # not this format, or not whole
    Mutation("empty file", lambda data: b"", "entry"),
    Mutation("first half", lambda data: data[: len(data) // 2], "truncated"),
    Mutation("last byte off", lambda data: data[:-1], "truncated"),
    Mutation("first byte off", lambda data: data[1:], "cannot parse"),
    Mutation("compressed", gzip.compress, "cannot parse"),
    Mutation("StableHLO text", lambda data: b"module @jit { func.func public @main() { return } }", "cannot parse"),
    Mutation(
        "an ONNX model",
        lambda data: onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [])).SerializeToString(),
        "cannot parse",
    ),
    Mutation("a group begins", lambda data: data + varint(9 << 3 | 3), "wire type 3"),
    Mutation("field number 0", lambda data: data + varint(0) + varint(1), "field 0"),
    Mutation("a number without end", lambda data: data + b"\xff" * 12, "truncated"),
    # the module
    Mutation("no computations", module(drop(3)), "entry"),
    Mutation("no entry", module(drop(6)), "entry"),
    Mutation("entry of another id", module(put(6, 9999)), "entry"),
    Mutation("entry of another name", module(put(2, b"elsewhere")), "is called"),
    Mutation("two computations of one id", module(_same_ids), "one id"),
    Mutation("a computation that is a number", module(lambda t: t[3].append(7)), "where a message belongs"),
    # the entry computation
    Mutation("no root", entry(drop(6)), "no root"),
    Mutation("root of another id", entry(put(6, 123456)), "no root"),
    Mutation("no instructions", entry(drop(2)), "no root"),
    Mutation("used before made", entry(_swapped), "not made before"),
    Mutation("no program shape", entry(drop(4)), "no program shape"),
    Mutation("a result too few in the program shape", entry(_result), "program shape"),
    Mutation("an argument too few in the program shape", entry(_argument), "program shape"),
    Mutation("one instruction twice", entry(lambda c: c[2].insert(1, c[2][0])), "an id that is taken"),
    Mutation("an instruction that is a number", entry(lambda c: c[2].append(3)), "where a message belongs"),
    # instructions
    _on("no name", "add", drop(NAME), "no name"),
    _on("a name that is no text", "add", put(NAME, b"\xff\xfe"), "is no text"),
    _on("no shape", "add", drop(SHAPE), "no shape"),
    _on("id beyond 32 bits", "tuple", put(ID, 77309411636), "root"),
    _on("operand that is not there", "add", operands(lambda ids: [ids[0], 4242]), "not made before"),
    _on("takes itself", "add", lambda one: operands(lambda ids: [ids[0], one[ID][0]])(one), "not made before"),
    _on("one operand", "add", operands(lambda ids: ids[:1]), "EVRF001"),
    _on("three operands", "add", operands(lambda ids: [*ids, ids[0]]), "EVRF001"),
    _on("unknown operator", "exponential", put(OPCODE, b"exponentiate"), "EVRF001"),
    _on("fft", "negate", put(OPCODE, b"fft"), "EVRF001"),
    _on("cholesky", "negate", put(OPCODE, b"cholesky"), "EVRF001"),
    _on("topk", "negate", put(OPCODE, b"topk"), "EVRF001"),
    _on("infeed", "negate", put(OPCODE, b"infeed"), "EVRF001"),
    _on("no operator", "negate", put(OPCODE, b""), "EVRF001"),
    _on(
        "custom call of LAPACK",
        "negate",
        both(put(OPCODE, b"custom-call"), put(TARGET, b"lapack_spotrf_ffi")),
        "EVRF015",
    ),
    _on("custom call without target", "negate", put(OPCODE, b"custom-call"), "EVRF015"),
    # dtypes and shapes
    _on("f64", "negate", shape(put(DTYPE, F64)), "ESPP004"),
    _on("4 bits", "negate", shape(put(DTYPE, S4)), "ESPP004"),
    _on("complex", "negate", shape(put(DTYPE, C64)), "EVRF004"),
    _on("fp8 fnuz", "negate", shape(put(DTYPE, FP8_FNUZ)), "EVRF005"),
    _on("fp8 fn", "negate", shape(put(DTYPE, FP8_FN)), "EVRF051"),
    _on("dtype of the future", "negate", shape(put(DTYPE, 99)), "ESPP004"),
    _on("dynamic", "negate", shape(put(DYNAMIC, 1)), "EMOD025"),
    _on("more than 4 GB", "broadcast", dims(lambda d: [1 << 17, 1 << 17]), "EVRF024"),
    _on("a negative size", "negate", dims(lambda d: [-1, *d[1:]]), "impossible"),
    _on("another shape than its operands", "add", dims(lambda d: [*d[:-1], d[-1] + 1]), "EVRF001"),
    _on("another dtype than its operands", "add", shape(put(DTYPE, S32)), "EVRF001"),
    _on("other shape", "exponential", dims(lambda d: [*d, 1]), "EVRF001"),
    _on("other count", "reshape", dims(lambda d: [*d, 2]), "EVRF001"),
    _on("other dtype", "reshape", shape(put(DTYPE, S32)), "EVRF001"),
    _on("other sizes", "transpose", dims(lambda d: [n + 1 for n in d]), "EVRF001"),
    _on("no permutation", "transpose", put(DIMENSIONS, packed(0, 0)), "EVRF001"),
    _on("dimension that is not there", "broadcast", put(DIMENSIONS, packed(7)), "EVRF001"),
    _on("no literal", "constant", drop(LITERAL), "EVRF001"),
    _on("literal without values", "constant", _literal, "EVRF001"),
    _on("literal of another dtype", "constant", shape(put(DTYPE, S32)), "EVRF001"),
    _on("a member too few", "tuple", operands(lambda ids: ids[:-1]), "EVRF001"),
    # parameters
    _on("numbered from 100", "parameter", put(PARAMETER, 100), "not numbered"),
    _on("two of one number", "parameter", put(PARAMETER, 1), "not numbered"),
    _on("with an operand", "parameter", put(OPERANDS, packed(1)), "not made before"),
    _on("of a shape that is not declared", "parameter", dims(lambda d: [*d, 1]), "program shape"),
    # windows and calls
    _on("both dilations", "convolution", both(window(5, 2), window(6, 2)), "EVRF010"),
    _on("stride over a dilated input", "convolution", both(window(2, 2), window(6, 2)), "EVRF011"),
    _on("one operand", "convolution", operands(lambda ids: ids[:1]), "EVRF001"),
    _on("dilated window", "reduce-window", window(5, 2), "EVRF018"),
    _on("dilated input", "reduce-window", window(6, 2), "EVRF017"),
    _on("several operands", "reduce-window", operands(lambda ids: [ids[0], *ids]), "EVRF019"),
    _on("calls nothing", "reduce", drop(CALLED), "EVRF001"),
    _on("calls what is not there", "reduce", put(CALLED, packed(31337)), "is no other computation"),
    _on("one operand", "dot", operands(lambda ids: ids[:1]), "EVRF001"),
)
