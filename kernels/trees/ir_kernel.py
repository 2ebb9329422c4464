"""The whole kernel in LLVM IR: one function over rows, blocks where there are many, single rows where there are few.

    neoc_trees(args):                                 args: tables, rows, number of rows, margins, scratch
      while rows are left:
        more than `few_rows`:  block of 8 * line rows
          ranks     x -> number of boundaries <= x, a byte a row (two where there are more than 255)
          bits      8 vectors of bytes -> 8 lines: bit k of every row's rank        (an 8 x 8 transposition of bits)
          lines     rank >= r  =  high > h | (high == h & low >= l)                 one line a distinct test
          trees     line of the root selects left or right lines, level by level -> bits of the leaf's number
                    -> transposed back: a byte a row -> the leaf's value by table lookup -> added to the row's sum
          margins   sums, row by row
        else, a row:           masks of eight trees, or eight walks, at once

A line holds one bit a row: row line * i + p is bit i of byte p. No branch depends on a row, no address but the leaf's
does, and a test costs one bit operation for the whole block however many nodes share it. Leaves are added one by one in
the order of the trees: the sums have the bits of the source library's.
"""

from __future__ import annotations

from neoc.kernels.ir import DECLARATIONS, Function
from neoc.kernels.trees.ir_rows import RowWriter
from neoc.kernels.trees.isa import Isa
from neoc.kernels.trees.layout import BITS, SLOT, Shape

ENTRY = "neoc_trees"
ARGUMENTS = ("tables", "rows", "n", "margins", "scratch")


class KernelWriter(RowWriter):
    def __init__(self, shape: Shape, isa: Isa, exported: bool = True) -> None:
        super().__init__(shape, isa)
        self._exported = exported

    def functions(self) -> list[Function]:
        return [*self.rank_functions(), *self.tree_functions(), *self.row_functions(), self._block(), self._main()]

    def _main(self) -> Function:
        """The entry.

        done = 0
        do  left = n - done
            left <= few_rows:  row(rows[done], margins[done]);               done += 1
            else:              block(rows[done...], min(left, block's rows)); done += that
        while done < n
        """
        f = self.function(ENTRY, "ptr %args", internal=not self._exported)
        words = [f.load("i64", f.at("i64", "%args", str(k)), 8) for k in range(len(ARGUMENTS))]
        n = words[2]
        tables, rows, margins, scratch = (f.value(f"inttoptr i64 {w} to ptr") for w in (*words[:2], *words[3:]))
        few, width, targets = (self._field(f, tables, k) for k in ("few_rows", "features", "targets"))
        done = f.variable("i64", "0")
        with f.when(f.value(f"icmp sgt i64 {n}, 0")), f.repeat() as again:
            start = f.load("i64", done)
            left = f.value(f"sub i64 {n}, {start}")
            x = f.at(self.floats, rows, f.mul(start, width))
            out = f.at(self.sums, margins, f.mul(start, targets))
            single = f.value(f"icmp sle i64 {left}, {few}")
            with f.when(single):
                f.do(f"call void @row(ptr {tables}, ptr {x}, ptr {out}, ptr {scratch})")
            count = f.smaller(left, str(self.isa.rows))
            with f.when(f.value(f"xor i1 {single}, true")):
                f.do(f"call void @block(ptr {tables}, ptr {x}, i64 {count}, ptr {out}, ptr {scratch})")
            following = f.add(start, f.value(f"select i1 {single}, i64 1, i64 {count}"))
            f.store("i64", following, done)
            again.append(f.value(f"icmp slt i64 {following}, {n}"))
        return f

    def _field(self, f: Function, tables: str, name: str) -> str:
        from neoc.kernels.trees.layout import HEADER

        return f.load("i64", f.at("i64", tables, str(HEADER.index(name))), 8)

    def _block(self) -> Function:
        """Margins of up to a block of rows.

        for target: sums[target][...] = base[target], for all rows of a block, there or not
        ranks, lines, trees (`_evaluate`)
        for row, target: margins[row][target] = sums[target][place(row)]
        """
        f = self.function("block", "ptr %tables, ptr %rows, i64 %n, ptr %margins, ptr %scratch")
        size = self.isa.rows
        sums, targets = self.scratch(f, "sums"), self.header(f, "targets")
        self._fill_sums(f, sums, targets)
        if self.shape.kinds:
            self._evaluate(f, sums)
        with f.loop(0, "%n") as row:
            place = self.place(f, row)
            line = f.at(self.sums, "%margins", f.mul(row, targets))
            with f.loop(0, targets) as target:
                value = f.element(self.sums, sums, f.add(f.mul(target, size), place))
                f.store(self.sums, value, f.at(self.sums, line, target), self.sum_bytes)
        return f

    def _fill_sums(self, f: Function, sums: str, targets: str) -> None:
        """sums[target][...] = base[target], 64 bytes at a time"""
        size, lanes = self.isa.rows * self.sum_bytes, 64 // self.sum_bytes
        kind, base = f"<{lanes} x {self.sums}>", self.section(f, "base")
        with f.loop(0, targets) as target:
            value = f.splat(lanes, self.sums, f.element(self.sums, base, target))
            with f.loop(0, size, 64) as k:
                f.store(kind, value, f.at("i8", sums, f.add(f.mul(target, size), k)), 64)

    def _evaluate(self, f: Function, sums: str) -> None:
        """All trees over the rows of a block.

        for slot:  bits[slot] = ranks(rows, slot)
        lines[0], lines[1] = all zeros, all ones
        for group: lines[2...] = lines(bits)                  the cursors go on through tests, entries, trees, leaves
                   sums += trees(lines, rows)
        """
        bits, lines, numbers = (self.scratch(f, name) for name in ("bits", "lines", "numbers"))
        slots = self.section(f, "slots")
        if self.shape.levels:
            self._bits_of_slots(f, slots, bits, lines)
        at = [f.variable("ptr", self.section(f, name)) for name in ("tests", "entries", "trees", "leaves")]
        groups = self.section(f, "groups")
        with f.loop(0, self.header(f, "groups")) as group:
            count = f.index(groups, group)
            if self.shape.levels:
                f.do(f"call void @lines(ptr {at[0]}, ptr {at[1]}, ptr {bits}, ptr {slots}, ptr {lines})")
            streams = f"ptr {at[2]}, ptr {at[3]}, i64 {count}"
            f.do(f"call void @trees(ptr %tables, {streams}, ptr {lines}, ptr {sums}, ptr {numbers}, ptr %rows, i64 %n)")

    def _bits_of_slots(self, f: Function, slots: str, bits: str, lines: str) -> None:
        """The bits of every slot's ranks, and the two lines of constants."""
        with f.loop(0, self.header(f, "slots")) as slot:
            where, mine = f.at("i32", slots, f.mul(slot, SLOT)), self.line_at(f, bits, f.mul(slot, BITS))
            f.do(f"call void @ranks(ptr %tables, ptr %rows, i64 %n, ptr {where}, ptr %scratch, ptr {mine})")
        self.store_line(f, self.byte(0), self.line_at(f, lines, 0))
        self.store_line(f, self.byte(255), self.line_at(f, lines, 1))


def kernel_ir(shape: Shape, isa: Isa) -> str:
    """LLVM IR of the kernel for one shape of ensemble and one ISA."""
    writer = KernelWriter(shape, isa)
    bodies = [f.text() for f in writer.functions()]
    return DECLARATIONS + "\n".join(sorted(writer.used)) + "\n\n" + "\n".join(bodies)
