"""Few rows: one at a time, eight trees at once.

row(tables, row, margins, scratch):
  by masks (AVX-512 VBMI):  planes(row) -> bytes;  masks(bytes) -> 64 bits a tree;  eight trees' bits -> their leaves
  by walking:               eight trees at a time, record by record
  then, tree by tree:       sums[target] += leaf
"""

from __future__ import annotations

from neoc.kernels.ir import Function
from neoc.kernels.trees.ir_ranks import RankWriter
from neoc.kernels.trees.ir_trees import TreeWriter
from neoc.kernels.trees.layout import SLOT
from neoc.kernels.trees.row_tables import MOST_PLANES, TOGETHER


class RowWriter(RankWriter, TreeWriter):
    def row_functions(self) -> list[Function]:
        if self.shape.rows == "walk":
            return [self._row_by_walk()]
        return [self._planes(), self._masks(), self._row_by_masks()]

    def _row_function(self) -> Function:
        return self.function("row", "ptr %tables, ptr %row, ptr %margins, ptr %scratch")

    # --- by walking ---

    def _row_by_walk(self) -> Function:
        """for 8 trees: walk them over the row; then, in their order, sums[target] += leaf"""
        f = self._row_function()
        nodes, leaf = self.section(f, "walk"), self.section(f, "walk_leaf")
        at, row = f.buffer(f"[{TOGETHER} x i64]"), f.buffer(f"[{TOGETHER} x ptr]")
        sums = self._start_sums(f)
        words = self.cursor(f, self.section(f, "rows"))
        for k in range(TOGETHER):
            f.store("ptr", "%row", f.at("ptr", row, str(k)), self.pointer_bytes)
        with f.loop(0, self.header(f, "trees"), TOGETHER):
            for k in range(TOGETHER):
                f.store("i64", self.word(f, words), f.at("i64", at, str(k)), 8)
            f.do(f"call void @walk(ptr {nodes}, ptr {at}, ptr {row})")
            with f.loop(0, TOGETHER) as tree:
                number = f.index(leaf, f.load("i64", f.at("i64", at, tree), 8))
                self._add_lookups(f, words, number, sums)
        self._finish_sums(f, sums)
        return f

    # --- sums ---

    def _start_sums(self, f: Function) -> str:
        """With one target the sum is a variable; else the row's margins are the sums."""
        base = self.section(f, "base")
        if self.shape.single:
            return f.variable(self.sums, f.load(self.sums, base, self.sum_bytes))
        with f.loop(0, self.header(f, "targets")) as target:
            value = f.load(self.sums, f.at(self.sums, base, target), self.sum_bytes)
            f.store(self.sums, value, f.at(self.sums, "%margins", target), self.sum_bytes)
        return "%margins"

    def _finish_sums(self, f: Function, sums: str) -> None:
        if self.shape.single:
            f.store(self.sums, f.load(self.sums, sums), "%margins", self.sum_bytes)

    def _add_lookups(self, f: Function, words: str, number: str, sums: str) -> None:
        leaves = self.section(f, "row_leaves")
        with f.loop(0, self.word(f, words)):
            target, first = self.word(f, words), self.word(f, words)
            value = f.load(self.sums, f.at(self.sums, leaves, f.add(first, number)), self.sum_bytes)
            at = sums if self.shape.single else f.at(self.sums, sums, target)
            align = 1 if self.shape.single else self.sum_bytes
            f.store(self.sums, f.value(f"fadd {self.sums} {f.load(self.sums, at, align)}, {value}"), at, align)

    # --- by masks ---

    def _planes(self) -> Function:
        """The bytes of a row: for each slot its rank, within stretches of 255; NaN is 0 or 255.

        for slot: x = row[feature]; k = its rank, down the search tree
                  for plane of the slot: *out++ = x is NaN ? the plane's byte : clamp(k - the plane's first, 0, 255)
        """
        f = self.function("planes", "ptr %tables, ptr %row, ptr %planes")
        keys, words = self.section(f, "keys"), self.cursor(f, self.section(f, "planes"))
        slots = self.section(f, "slots")
        out = f.variable("ptr", "%planes")
        with f.loop(0, self.header(f, "slots")) as slot:
            mine = f.at("i32", slots, f.mul(slot, SLOT))
            x = f.load(self.floats, f.at(self.floats, "%row", f.index(mine, "0")), self.float_bytes)
            spread, lost = self._spread(f, x), self.is_nan(f, x)
            place = f.variable("i64", "0")
            with f.loop(0, f.index(mine, "1")) as level:
                base = f.at(self._keys, keys, f.index(mine, f.add(level, 3)))
                f.store("i64", self._descend(f, spread, base, f.load("i64", place)), place)
            with f.loop(0, self.word(f, words)):
                first, missing = self.word(f, words), self.word(f, words)
                rank = f.value(f"sub i64 {f.load('i64', place)}, {first}")
                rank = self.call(f, "i64", "llvm.smax.i64", ("i64", rank), ("i64", "0"))
                rank = f.smaller(rank, "255")
                value = f.value(f"select i1 {lost}, i64 {missing}, i64 {rank}")
                at = f.load("ptr", out)
                f.store("i8", f.value(f"trunc i64 {value} to i8"), at)
                f.store("ptr", f.at("i8", at, "1"), out)
        return f

    def _masks(self) -> Function:
        """masks[tree]: bit i says whether the row goes right at place i of the tree's upper six levels.

        for tree, four at a time: value[i] = bytes[plane of place i]     64 places by one vpermi2b
                                  masks[tree] = value >= threshold       64 bits by one vpcmpub
        """
        f = self.function("masks", "ptr %tables, ptr %planes, ptr %masks, i64 %trees")
        low, high = (f.load(self.bytes, f.at("i8", "%planes", str(k)), 64) for k in (0, 64))
        nodes = self.section(f, "row_nodes")
        with f.loop(0, "%trees", 4) as start:
            for k in range(4):
                tree = f.add(start, k)
                mine = f.at("i8", nodes, f.mul(tree, self._row_node_bytes))
                plane, threshold = (f.load(self.bytes, f.at("i8", mine, str(j)), 64) for j in (0, 64))
                value = self.call(
                    f, self.bytes, "llvm.x86.avx512.vpermi2var.qi.512", *((self.bytes, v) for v in (low, plane, high))
                )
                mask = f.value(f"icmp uge {self.bytes} {value}, {threshold}")
                f.store("i64", f.value(f"bitcast <64 x i1> {mask} to i64"), f.at("i64", "%masks", tree), 8)
        return f

    @property
    def _row_node_bytes(self) -> int:
        return 640 if self.shape.rows == "masks8" else 128

    def _row_by_masks(self) -> Function:
        """masks of all trees; then eight masks at a time: i = 1; six times: i = 2 i + bit i of the mask

        i - 64 is the place among 64 (of leaves, or of subtrees of two more levels); then the leaves in their order.
        """
        f = self._row_function()
        planes, masks = self.scratch(f, "rank"), self.scratch(f, "masks")
        count = self.header(f, "trees")
        padded = f.value(f"and i64 {f.add(count, TOGETHER - 1)}, {-TOGETHER}")
        f.do(f"call void @planes(ptr %tables, ptr %row, ptr {planes})")
        f.do(f"call void @masks(ptr %tables, ptr {planes}, ptr {masks}, i64 {padded})")
        one, kind = self.each(1), self.line
        with f.loop(0, padded, TOGETHER) as start:
            at = f.at("i64", masks, start)
            mask, i = self.load_line(f, at), one
            for _ in range(6):
                bit = self.op(f, "and", self.op(f, "lshr", mask, i), one)
                i = self.op(f, "or", self.op(f, "shl", i, one), bit)
            self.store_line(f, f.value(f"sub {kind} {i}, {self.each(64)}"), at)
        sums = self._start_sums(f)
        words = self.cursor(f, self.section(f, "rows"))
        nodes = self.section(f, "row_nodes")
        with f.loop(0, count) as tree:
            number = f.load("i64", f.at("i64", masks, tree), 8)
            if self.shape.rows == "masks8":
                number = self._two_levels(f, f.at("i8", nodes, f.mul(tree, 640)), number, planes)
            self._add_lookups(f, words, number, sums)
        self._finish_sums(f, sums)
        return f

    def _two_levels(self, f: Function, tree: str, subtree: str, planes: str) -> str:
        """The leaf (0..255) below subtree 0..63: nodes 0, then 1 or 2."""
        nodes = f.at("i8", f.at("i8", tree, "128"), f.mul(subtree, 8))
        first = self._goes_right(f, nodes, planes)
        second = self._goes_right(f, f.at("i8", nodes, f.add(f.mul(first, 2), 2)), planes)
        return f.add(f.mul(subtree, 4), f.add(f.mul(first, 2), second))

    def _goes_right(self, f: Function, node: str, planes: str) -> str:
        plane, threshold = (f.load("i8", f.at("i8", node, str(k))) for k in (0, 1))
        value = f.element("i8", planes, f.value(f"zext i8 {plane} to i64"))
        return f.value(f"zext i1 {f.value(f'icmp uge i8 {value}, {threshold}')} to i64")


assert MOST_PLANES == 128  # two registers
