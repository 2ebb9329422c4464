"""One kernel a shape, or one a model? The measurement behind docs/adr/0011-one-tree-kernel-a-shape.md.

    python -m neoc.bench.trees_per_model [--trees 50,200,1000] [--seconds S] [--write docs/adr/0011-...md]

The kernel that ships reads from its tables which lines a tree selects. The other one is generated here for one model:
every tree is a function of its own whose places are constants, nothing is looked up but leaves. Both run the same
tables on the same rows, interleaved; their margins must be equal to the bit.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from neoc.bench.trees_models import MODELS
from neoc.compile import CompileOptions, frontends
from neoc.compile.machine import fingerprint
from neoc.compile.measure import interleave, ratio, time_calls
from neoc.kernels.ir import DECLARATIONS, Function
from neoc.kernels.trees import code
from neoc.kernels.trees.ir_kernel import KernelWriter, kernel_ir
from neoc.kernels.trees.isa import Isa, isa_of
from neoc.kernels.trees.layout import HEADER, Layout, layout_of
from neoc.kernels.trees.predictor import Predictor
from neoc.kernels.trees.tree_tables import PROGRAM, WALK
from neoc.targets.engines.trees_program import take_apart
from neoc.targets.host import detect

START, END = "<!-- table -->", "<!-- /table -->"
ROWS = 10_000


class ModelWriter(KernelWriter):
    """The kernel of one model: what `trees` follows in the tables is written out.

    for group: tree 0, tree 1, ...:  number = its selections, by constant places;  sums += table[number]
    """

    def __init__(self, layout: Layout, isa: Isa) -> None:
        super().__init__(layout.shape, isa)
        head = dict(zip(HEADER, layout.tables[: 8 * len(HEADER)].view(np.int64).tolist(), strict=True))
        self._words = layout.tables[head["at_trees"] : head["at_leaves"]].view(np.uint32).tolist()
        self._counts = layout.tables[head["at_groups"] : head["at_tests"]].view(np.uint32)[: head["groups"]].tolist()
        self._at = self._leaf = 0
        self._places: list[int] | None = None
        """of the lines that the record at hand names; None while the shape's own functions are written"""

    def tree_functions(self) -> list[Function]:
        found = [f for f in super().tree_functions() if f.name != "trees"]
        for group, count in enumerate(self._counts):
            whole = self.function(f"trees{group}", "ptr %lines, ptr %sums, ptr %numbers, ptr %leaves")
            for tree in range(count):
                one = self._tree(f"tree{group}_{tree}")
                found.append(one)
                whole.do(f"call void @{one.name}(ptr %lines, ptr %sums, ptr %numbers, ptr %leaves)")
            found.append(whole)
        return found

    def _tree(self, name: str) -> Function:
        f = self.function(name, "ptr %lines, ptr %sums, ptr %numbers, ptr %leaves")
        kind, count = self._take(2)
        targets = self._take(count)
        if kind == WALK:
            raise SystemExit("a tree of this model is walked: there is nothing to write out")
        if kind < PROGRAM:
            self._places = self._take((1 << kind) - 1)
            planes = self._perfect(f, kind, f.variable("ptr", "%lines"))
        else:
            planes = self._written_out(f, kind - PROGRAM)
        for i, number in enumerate(self.transposed(f, planes)):
            self.store_line(f, number, self.line_at(f, "%numbers", i))
        bits = kind % PROGRAM if self.isa.lookup == "scalar" else max(6, kind % PROGRAM)
        for target in targets:
            table = f.at("i8", "%leaves", str(self._leaf))
            sums = f.at("i8", "%sums", str(target * self.isa.rows * self.sum_bytes))
            f.do(f"call void @add_leaves{bits}(ptr %numbers, ptr {table}, ptr {sums})")
            self._leaf += -(-self.sum_bytes * (1 << bits) // 64) * 64
        return f

    def _take(self, count: int) -> list[int]:
        self._at += count
        return [int(word) for word in self._words[self._at - count : self._at]]

    def _line_named(self, f: Function, pointer: str, index: int | str) -> str:
        if self._places is None:
            return super()._line_named(f, pointer, index)  # type: ignore[arg-type]
        return f.at("i8", "%lines", str(self._places[int(index)]))

    def _written_out(self, f: Function, bits: int) -> list[str]:
        """Operations on lines in memory; LLVM keeps in registers what it can."""
        (count,) = self._take(1)
        for _ in range(count):
            self._places = self._take(4)
            s, a, b = (self.load_line(f, self._line_named(f, "", j)) for j in range(3))
            self.store_line(f, self.pick(f, s, a, b), self._line_named(f, "", 3))
        self._places = self._take(bits)
        lines = [self.load_line(f, self._line_named(f, "", j)) for j in range(bits)]
        return lines + ["zeroinitializer"] * (8 - bits)

    def _evaluate(self, f: Function, sums: str) -> None:
        """As the shape's kernel, the trees of each group by name."""
        bits, lines, numbers = (self.scratch(f, name) for name in ("bits", "lines", "numbers"))
        slots = self.section(f, "slots")
        self._bits_of_slots(f, slots, bits, lines)
        at = [f.variable("ptr", self.section(f, name)) for name in ("tests", "entries")]
        leaves = self.section(f, "leaves")
        for group in range(len(self._counts)):
            f.do(f"call void @lines(ptr {at[0]}, ptr {at[1]}, ptr {bits}, ptr {slots}, ptr {lines})")
            f.do(f"call void @trees{group}(ptr {lines}, ptr {sums}, ptr {numbers}, ptr {leaves})")


def model_ir(layout: Layout, isa: Isa) -> str:
    """LLVM IR of the kernel of one model."""
    writer = ModelWriter(layout, isa)
    bodies = [f.text() for f in writer.functions()]
    return DECLARATIONS + "\n".join(sorted(writer.used)) + "\n\n" + "\n".join(bodies)


def compiled(text: str, isa: Isa) -> tuple[bytes, float]:
    """(image, seconds)"""
    start = time.perf_counter()
    image = code.image(code.object_code(text, isa))
    return image, time.perf_counter() - start


def measure(trees: int, seconds: float, folder: Path) -> str:
    """A row of the table."""
    path = MODELS[0].trained(folder)
    options = CompileOptions(use_cache=False, pairs=(("iterations", str(trees)),))
    ensemble = take_apart(frontends.load(path, {}, options)).ensemble
    isa = isa_of(detect().arch, detect().features)
    layout = layout_of(ensemble, isa)
    x = np.ascontiguousarray(np.resize(MODELS[0].data()[0], (ROWS, ensemble.features)))
    texts = {"shape": kernel_ir(layout.shape, isa), "model": model_ir(layout, isa)}
    made = {name: compiled(text, isa) for name, text in texts.items()}
    calls = {
        name: Predictor(image, layout.tables, ensemble.row_dtype, ensemble.sum_dtype, isa.rows)
        for name, (image, _) in made.items()
    }
    if calls["shape"](x).tobytes() != calls["model"](x).tobytes():
        raise SystemExit("the two kernels differ")
    samples = interleave({n: partial(time_calls, partial(c, x)) for n, c in calls.items()}, budget_s=seconds)
    gain = ratio(samples["shape"], samples["model"])
    cells = [f"{trees:,}", f"{len(layout.tables) / 1e3:,.0f} KB"]
    for name, (image, spent) in made.items():
        cells += [f"{samples[name].median_ns / 1e6:.3f} ms", f"{spent:.2f} s", f"{len(image) / 1e3:,.0f} KB"]
    return f"| {' | '.join(cells)} | **{gain.median:.2f}x** ({gain.low:.2f} to {gain.high:.2f}) |"


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m neoc.bench.trees_per_model")
    parser.add_argument("--trees", default="50,200,1000", help="how many of the first trees of the depth-6 model")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--folder", type=Path, default=Path("build/trees"))
    parser.add_argument("--write", type=Path)
    chosen = parser.parse_args(arguments)
    chosen.folder.mkdir(parents=True, exist_ok=True)
    cpu = fingerprint()["machine"].get("cpu", "?")
    lines = [
        f"{cpu}, 10,000 rows, one thread:",
        "",
        "| trees | tables | shape: time | compile | code | model: time | compile | code | shape's time / model's |",
        "|---" * 9 + "|",
    ]
    for trees in map(int, chosen.trees.split(",")):
        lines.append(measure(trees, chosen.seconds, chosen.folder))
        print(lines[-1], flush=True)
    text = "\n".join(lines)
    print(text)
    if chosen.write is not None:
        old = chosen.write.read_text()
        a, b = old.index(START) + len(START), old.index(END)
        chosen.write.write_text(f"{old[:a]}\n{text}\n{old[b:]}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
