"""The generated LLVM IR as text, per design and ISA: tests/golden/trees. A change of the generator shows as a diff.

A kernel depends on the ensemble's Shape alone (the trees are data), so each design is the smallest Shape that has it.
A function that an earlier ISA has alike is only named; so a file shows what is this ISA's own.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from neoc.kernels.ir import Function
from neoc.kernels.trees.finish import I64, Finish, Op, check
from neoc.kernels.trees.ir_finish import FinishWriter, entry
from neoc.kernels.trees.ir_kernel import KernelWriter, kernel_ir
from neoc.kernels.trees.isa import Isa, isa_of
from neoc.kernels.trees.layout import Shape
from neoc.targets.host import X86_LEVELS

ISAS = {
    "x86-64-v2": isa_of("x86_64", X86_LEVELS["x86-64-v2"]),
    "x86-64-v3": isa_of("x86_64", X86_LEVELS["x86-64-v3"]),
    "x86-64-v4": isa_of("x86_64", X86_LEVELS["x86-64-v4"]),
    "x86-64-v4+vbmi": isa_of("x86_64", frozenset(X86_LEVELS["x86-64-v4"]) | {"avx512vbmi"}),
    "aarch64": isa_of("aarch64", ()),
    "armv7": isa_of("armv7", ()),
}
VBMI = "x86-64-v4+vbmi"
SHAPES = {
    # every tree of height 2, one level of search, rows walked
    "perfect": Shape("f32", "f32-sequential", (2,), (1,), False, True, "walk"),
    # programs of 64 leaves in float64 with sets and several targets, two levels of search
    "program": Shape("f64", "f64", (22,), (2,), True, False, "walk"),
    "walked": Shape("f32", "f32-sequential", (32,), (), False, True, "walk"),
    "masks6": Shape("f32", "f32-sequential", (2,), (1,), False, True, "masks6"),
    "masks8": Shape("f32", "f32-sequential", (2,), (1,), False, False, "masks8"),
}
OWN = {
    "perfect": ("ranks", "lines", "trees", "add_leaves", "row", "block", "neoc_trees"),
    "program": ("lines", "trees", "add_leaves"),
    "walked": ("walk", "walk_rows", "add_walked", "trees"),
    "masks6": ("planes", "masks", "row"),
    "masks8": ("planes", "masks", "row"),
}
"""the functions that a design is there for: what others have alike is not repeated"""
FINISHES = {
    # XGBoost's binary:logistic: margin -> probability, label, both probabilities
    "binary": Finish(
        "float32",
        1,
        (
            Op("Sigmoid", (0,), "float32", 1),
            Op("Constant", (), "float32", 1, (0.5,)),
            Op("Greater", (1, 2), "bool", 1),
            Op("Cast", (3,), I64, 1),
            Op("Constant", (), "float32", 1, (1.0,)),
            Op("Sub", (5, 1), "float32", 1),
            Op("Concat", (6, 1), "float32", 2),
        ),
        (1, 4, 7),
    ),
    # a classifier of seven classes in float64
    "classes": Finish("float64", 7, (Op("Softmax", (0,), "float64", 7), Op("ArgMax", (0,), I64, 1)), (1, 2)),
}


def _named(functions: list[Function]) -> dict[str, str]:
    texts = [f.text() for f in functions]
    return {text.partition("@")[2].partition("(")[0]: text for text in texts}


def _kernel(design: str, isa: Isa) -> dict[str, str]:
    made = _named(KernelWriter(SHAPES[design], isa).functions())
    return {name: text for name, text in made.items() if name.rstrip("0123456789") in OWN[design]}


def _finish(name: str, isa: Isa) -> dict[str, str]:
    writer = FinishWriter(FINISHES[name], isa)
    functions = writer.functions()
    return {"globals": writer.globals(), **_named([functions[0], entry(FINISHES[name], isa)])}


def _text(made: Callable[[Isa], dict[str, str]], names: tuple[str, ...], isa: str) -> str:
    """All functions; one that an earlier ISA has alike, the width that vectors should have aside, by name alone."""
    mine = made(ISAS[isa])
    seen: dict[tuple[str, str], str] = {}
    for other in names[: names.index(isa)]:
        for name, text in made(ISAS[other]).items():
            seen.setdefault((name, text.replace(WIDE, "")), other)
    parts = []
    for name, text in mine.items():
        known = seen.get((name, text.replace(WIDE, "")))
        parts.append(f"; {name}: as on {known}\n" if known else text)
    return "\n".join(part for part in parts if part)


WIDE = ' "prefer-vector-width"="512"'
CASES = [(design, isa) for design in SHAPES for isa in ISAS if "masks" not in design or isa == VBMI]


@pytest.mark.parametrize(("design", "isa"), CASES)
def test_the_kernels(design: str, isa: str, golden: Callable[[str, str], None]) -> None:
    names = (VBMI,) if "masks" in design else tuple(ISAS)
    golden(f"trees/{design}.{isa}.ll", _text(lambda one: _kernel(design, one), names, isa))


FINISHED_ON = ("x86-64-v2", "armv7")


@pytest.mark.parametrize("isa", FINISHED_ON)
@pytest.mark.parametrize("name", FINISHES)
def test_what_follows_the_trees(name: str, isa: str, golden: Callable[[str, str], None]) -> None:
    check(FINISHES[name])
    golden(f"trees/finish-{name}.{isa}.ll", _text(lambda one: _finish(name, one), FINISHED_ON, isa))


@pytest.mark.needs("llvmlite")
@pytest.mark.parametrize(("design", "isa"), CASES)
def test_the_text_is_llvm_ir(design: str, isa: str) -> None:
    import llvmlite.binding as llvm

    module = llvm.parse_assembly(kernel_ir(SHAPES[design], ISAS[isa]))
    module.verify()
    assert {f.name for f in module.functions if not f.is_declaration} >= set(_kernel(design, ISAS[isa]))
