"""A small writer of LLVM IR text: values are numbered, loops and conditions are `with` blocks, variables are stack
slots.

LLVM's mem2reg turns the slots into registers, so that no phi has to be written by hand.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager


class Function:
    """One `define`. Parameters are written as in LLVM: 'ptr %src', 'i64 %n'."""

    def __init__(self, name: str, parameters: str, internal: bool = False, attributes: str = "") -> None:
        self.name = name
        linkage = "internal " if internal else ""
        self._head = f"define {linkage}void @{name}({parameters}) {attributes}{' ' * bool(attributes)}{{\n"
        self._slots: list[str] = []
        self._lines: list[str] = []
        self._count = 0

    def text(self) -> str:
        return "\n".join(
            [self._head + "entry:", *self._slots, "  br label %start", "start:", *self._lines, "  ret void\n}\n"]
        )

    def fresh(self, prefix: str = "v") -> str:
        self._count += 1
        return f"{prefix}{self._count}"

    def value(self, operation: str) -> str:
        """`%vN = operation`; returns '%vN'."""
        name = "%" + self.fresh()
        self._lines.append(f"  {name} = {operation}")
        return name

    def do(self, statement: str) -> None:
        self._lines.append(f"  {statement}")

    # --- scalars and memory ---

    def variable(self, kind: str, initial: str) -> str:
        """A stack slot that holds `initial`; read with `load`, written with `store`."""
        name = "%" + self.fresh("slot")
        self._slots.append(f"  {name} = alloca {kind}")
        self.do(f"store {kind} {initial}, ptr {name}")
        return name

    def buffer(self, kind: str) -> str:
        """Uninitialised stack memory."""
        name = "%" + self.fresh("slot")
        self._slots.append(f"  {name} = alloca {kind}, align 64")
        return name

    def load(self, kind: str, pointer: str, align: int = 1) -> str:
        return self.value(f"load {kind}, ptr {pointer}, align {align}")

    def store(self, kind: str, value: str, pointer: str, align: int = 1) -> None:
        self.do(f"store {kind} {value}, ptr {pointer}, align {align}")

    def at(self, kind: str, pointer: str, index: str) -> str:
        """The address of element `index`."""
        return self.value(f"getelementptr {kind}, ptr {pointer}, i64 {index}")

    def element(self, kind: str, pointer: str, index: str) -> str:
        return self.load(kind, self.at(kind, pointer, index))

    def index(self, pointer: str, index: str) -> str:
        """An int32 element as i64."""
        return self.value(f"sext i32 {self.element('i32', pointer, index)} to i64")

    def add(self, a: str, b: str | int) -> str:
        return self.value(f"add i64 {a}, {b}")

    def mul(self, a: str, b: str | int) -> str:
        return self.value(f"mul i64 {a}, {b}")

    def smaller(self, a: str, b: str) -> str:
        return self.value(f"call i64 @llvm.smin.i64(i64 {a}, i64 {b})")

    # --- vectors ---

    def shuffle(self, kind: str, a: str, b: str, mask: Sequence[int]) -> str:
        """`kind` is the type of both operands; a mask entry below 0 leaves the lane undefined."""
        lanes = ", ".join("i32 undef" if m < 0 else f"i32 {m}" for m in mask)
        return self.value(f"shufflevector {kind} {a}, {kind} {b}, <{len(mask)} x i32> <{lanes}>")

    def splat(self, lanes: int, kind: str, value: str) -> str:
        one = self.value(f"insertelement <{lanes} x {kind}> poison, {kind} {value}, i64 0")
        return self.shuffle(f"<{lanes} x {kind}>", one, "poison", [0] * lanes)

    def joined(self, kind: str, lanes: int, parts: list[str]) -> tuple[str, int]:
        """Vectors of equal length, one after another; their number is a power of two."""
        while len(parts) > 1:
            mask = list(range(2 * lanes))
            parts = [
                self.shuffle(f"<{lanes} x {kind}>", a, b, mask) for a, b in zip(parts[::2], parts[1::2], strict=True)
            ]
            lanes *= 2
        return parts[0], lanes

    # --- control flow ---

    @contextmanager
    def loop(self, start: str | int, end: str | int, step: int = 1) -> Iterator[str]:
        """for i in range(start, end, step)"""
        label = self.fresh("loop")
        slot = self.variable("i64", str(start))
        self._lines += [f"  br label %{label}", f"{label}:"]
        i = self.load("i64", slot)
        inside = self.value(f"icmp slt i64 {i}, {end}")
        self._lines += [f"  br i1 {inside}, label %{label}.body, label %{label}.end", f"{label}.body:"]
        yield i
        self.store("i64", self.add(i, step), slot)
        self._lines += [f"  br label %{label}", f"{label}.end:"]

    @contextmanager
    def repeat(self) -> Iterator[list[str]]:
        """do ... while: the body appends the condition under which it runs again."""
        label = self.fresh("again")
        self._lines += [f"  br label %{label}", f"{label}:"]
        condition: list[str] = []
        yield condition
        self._lines += [f"  br i1 {condition[0]}, label %{label}, label %{label}.end", f"{label}.end:"]

    @contextmanager
    def when(self, condition: str) -> Iterator[None]:
        label = self.fresh("when")
        self._lines += [f"  br i1 {condition}, label %{label}, label %{label}.end", f"{label}:"]
        yield
        self._lines += [f"  br label %{label}.end", f"{label}.end:"]


DECLARATIONS = """
declare i64 @llvm.smin.i64(i64, i64)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
"""
