"""What the writers of kernel functions share: types, lines of bits, the header."""

from __future__ import annotations

from neoc.kernels.ir import Function
from neoc.kernels.trees.isa import Isa
from neoc.kernels.trees.layout import HEADER, Shape


def attributes_of(isa: Isa) -> str:
    """no-builtins: no loop becomes a call of memset or memcpy, which an image could not reach."""
    wide = f' "prefer-vector-width"="{8 * isa.line}"' if isa.line == 64 else ""
    return f'nounwind "no-builtins"{wide}'


class Writer:
    """Writes functions for one shape and one ISA."""

    def __init__(self, shape: Shape, isa: Isa) -> None:
        self.shape, self.isa = shape, isa
        self.width = isa.line
        self.line = f"<{isa.line // 8} x i64>"
        self.bytes = f"<{isa.line} x i8>"
        self.floats, self.float_bytes = ("float", 4) if shape.compare == "f32" else ("double", 8)
        self.sums, self.sum_bytes = ("double", 8) if shape.sum == "f64" else ("float", 4)
        self.integer_keys = isa.integer_keys and shape.compare == "f32"
        self.lookup = "scalar" if isa.lookup == "floats" and self.sum_bytes == 8 else isa.lookup
        self.pointer_bytes = isa.pointer // 8
        self.used: set[str] = set()
        """declarations"""

    def function(self, name: str, parameters: str, internal: bool = True) -> Function:
        return Function(name, parameters, internal, attributes_of(self.isa))

    def call(self, f: Function, kind: str, name: str, *arguments: tuple[str, str]) -> str:
        """The value of an intrinsic, declared once."""
        types = ", ".join(t for t, _ in arguments)
        self.used.add(f"declare {kind} @{name}({types})")
        return f.value(f"call {kind} @{name}({', '.join(f'{t} {v}' for t, v in arguments)})")

    def header(self, f: Function, name: str) -> str:
        return f.load("i64", f.at("i64", "%tables", str(HEADER.index(name))), 8)

    def section(self, f: Function, name: str) -> str:
        return f.at("i8", "%tables", self.header(f, f"at_{name}"))

    def scratch(self, f: Function, name: str) -> str:
        return f.at("i8", "%scratch", self.header(f, f"scratch_{name}"))

    # --- streams of words ---

    def cursor(self, f: Function, pointer: str) -> str:
        """A variable that `word` moves on."""
        return f.variable("ptr", pointer)

    def moved(self, f: Function, at: str) -> str:
        """A variable that starts where the pointer at `at` leads."""
        return self.cursor(f, f.load("ptr", at, self.pointer_bytes))

    def move(self, f: Function, cursor: str, at: str) -> None:
        """Write a cursor back to where `moved` has it from."""
        f.store("ptr", f.load("ptr", cursor), at, self.pointer_bytes)

    def word(self, f: Function, cursor: str) -> str:
        at = f.load("ptr", cursor)
        f.store("ptr", f.at("i32", at, "1"), cursor)
        return f.index(at, "0")

    # --- lines of bits ---

    def each(self, value: int) -> str:
        """A constant line of equal 64-bit words."""
        return "<" + ", ".join([f"i64 {value}"] * (self.width // 8)) + ">"

    def byte(self, value: int) -> str:
        """A constant line of equal bytes."""
        return self.each(int.from_bytes(bytes([value]) * 8, "little", signed=True))

    def op(self, f: Function, name: str, a: str, b: str) -> str:
        return f.value(f"{name} {self.line} {a}, {b}")

    def invert(self, f: Function, a: str) -> str:
        return self.op(f, "xor", a, self.byte(255))

    def pick(self, f: Function, s: str, a: str, b: str) -> str:
        """s ? a : b, bit by bit."""
        return self.op(f, "or", self.op(f, "and", s, a), self.op(f, "and", self.invert(f, s), b))

    def load_line(self, f: Function, pointer: str) -> str:
        return f.load(self.line, pointer, self.width)

    def store_line(self, f: Function, value: str, pointer: str) -> None:
        f.store(self.line, value, pointer, self.width)

    def line_at(self, f: Function, base: str, number: str | int) -> str:
        """The address of line `number`."""
        offset = number * self.width if isinstance(number, int) else f.mul(number, self.width)
        return f.at("i8", base, str(offset))

    def transposed(self, f: Function, v: list[str]) -> list[str]:
        """8 vectors; out[k] has in bit i of byte p what v[i] has in bit k of byte p. Its own inverse.

        stage s = 4, 2, 1, m = the lower s bits of every 2 s:
          (a, b) = v[i], v[i + s]  ->  a & m | b << s & ~m,   a >> s & m | b & ~m
        """
        v = list(v)
        for s, mask in ((4, 0x0F), (2, 0x33), (1, 0x55)):
            low, high = self.byte(mask), self.byte(255 - mask)
            for i in range(8):
                if i & s:
                    continue
                a, b = v[i], v[i + s]
                up, down = self.op(f, "shl", b, self.each(s)), self.op(f, "lshr", a, self.each(s))
                v[i] = self.op(f, "or", self.op(f, "and", a, low), self.op(f, "and", up, high))
                v[i + s] = self.op(f, "or", self.op(f, "and", down, low), self.op(f, "and", b, high))
        return v
