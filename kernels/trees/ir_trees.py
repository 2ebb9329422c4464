"""Trees over lines, and trees that are walked.

trees, a group:   by lines:   bits of the leaf's number, a line each -> transposed: number[row], a byte
                  by walking: number[row], an int32, eight rows at a time
                  then:       sums[target][row] += table[number[row]], for all rows of the block
"""

from __future__ import annotations

from neoc.kernels.ir import Function
from neoc.kernels.trees.ir_base import Writer
from neoc.kernels.trees.row_tables import TOGETHER
from neoc.kernels.trees.tree_tables import PROGRAM, WALK


class TreeWriter(Writer):
    def tree_functions(self) -> list[Function]:
        kinds = self.shape.kinds
        sizes = sorted({max(6, k % PROGRAM) if self.isa.lookup != "scalar" else k % PROGRAM for k in kinds if k < WALK})
        made = [self._add_leaves(bits) for bits in sizes]
        if WALK in kinds or self.shape.rows == "walk":
            made.append(self._walk())
        if WALK in kinds:
            made += [self._walk_rows(), self._add_walked()]
        return [*made, self._trees()] if kinds else made

    def _trees(self) -> Function:
        """The trees of a group; the two cursors are moved on.

        for tree: number[row] = its leaf, by the tree's kind
                  for lookup: sums[target][row] += table[number[row]]
        """
        f = self.function(
            "trees",
            "ptr %tables, ptr %words_at, ptr %leaves_at, i64 %count, "
            "ptr %lines, ptr %sums, ptr %numbers, ptr %rows, i64 %n",
        )
        words = self.moved(f, "%words_at")
        leaves = self.moved(f, "%leaves_at")
        with f.loop(0, "%count"):
            kind, count = self.word(f, words), self.word(f, words)
            targets = f.load("ptr", words)
            f.store("ptr", f.at("i32", targets, count), words)
            for one in self.shape.kinds:
                with f.when(f.value(f"icmp eq i64 {kind}, {one}")):
                    if one == WALK:
                        root, size = self.word(f, words), self.word(f, words)
                        arguments = f"ptr %tables, ptr %rows, i64 %n, i64 {root}, ptr %numbers"
                        f.do(f"call void @walk_rows({arguments})")
                        add = "add_walked"
                    else:
                        planes = (
                            self._perfect(f, one, words) if one < PROGRAM else self._program(f, one - PROGRAM, words)
                        )
                        for i, number in enumerate(self.transposed(f, planes)):
                            self.store_line(f, number, self.line_at(f, "%numbers", i))
                        bits = one % PROGRAM
                        if self.isa.lookup != "scalar":
                            bits = max(6, bits)
                        add, size = f"add_leaves{bits}", str(-(-self.sum_bytes * (1 << bits) // 64) * 64)
                    with f.loop(0, count) as k:
                        target = f.index(targets, k)
                        sums = f.at("i8", "%sums", f.mul(target, self.isa.rows * self.sum_bytes))
                        table = f.load("ptr", leaves)
                        n = ", i64 %n" if one == WALK else ""
                        f.do(f"call void @{add}(ptr %numbers, ptr {table}, ptr {sums}{n})")
                        f.store("ptr", f.at("i8", table, size), leaves)
        self.move(f, words, "%words_at")
        self.move(f, leaves, "%leaves_at")
        return f

    def _line_named(self, f: Function, pointer: str, index: int) -> str:
        """The address of the line whose place in bytes is word `index` of `pointer`."""
        offset = f.value(f"zext i32 {f.element('i32', pointer, str(index))} to i64")
        return f.at("i8", "%lines", offset)

    def _perfect(self, f: Function, height: int, words: str) -> list[str]:
        """bit 0 = line[root]; bit d = the line of the place at depth d that bits 0..d-1 lead to, chosen pair by pair:

        depth 2:   b0 ? (b1 ? L6 : L5) : (b1 ? L4 : L3)
        """
        nodes = f.load("ptr", words)
        f.store("ptr", f.at("i32", nodes, str((1 << height) - 1)), words)
        bits: list[str] = []

        def chosen(depth: int, first: int, count: int) -> str:
            """The line among `count` neighbours from `first` on at one depth, by the last bits."""
            if count == 1:
                return self.load_line(f, self._line_named(f, nodes, (1 << depth) - 1 + first))
            half = count // 2
            low, high = chosen(depth, first, half), chosen(depth, first + half, half)
            return self.pick(f, bits[depth - count.bit_length() + 1], high, low)

        for depth in range(height):
            bits.append(chosen(depth, 0, 1 << depth))
        # Bit 0 of the leaf's number is the deepest test.
        return bits[::-1] + ["zeroinitializer"] * (8 - height)

    def _program(self, f: Function, bits: int, words: str) -> list[str]:
        """for operation: line[result] = line[selector] ? line[set] : line[not]"""
        count = self.word(f, words)
        ops = f.load("ptr", words)
        with f.loop(0, count) as k:
            op = f.at("[4 x i32]", ops, k)
            s, a, b = (self.load_line(f, self._line_named(f, op, j)) for j in range(3))
            self.store_line(f, self.pick(f, s, a, b), self._line_named(f, op, 3))
        outputs = f.at("[4 x i32]", ops, count)
        f.store("ptr", f.at("i32", outputs, str(bits)), words)
        lines = [self.load_line(f, self._line_named(f, outputs, j)) for j in range(bits)]
        return lines + ["zeroinitializer"] * (8 - bits)

    # --- leaves ---

    def _add_leaves(self, bits: int) -> Function:
        """sums[row] += table[number[row]] for all rows of a block; numbers are bytes."""
        f = self.function(f"add_leaves{bits}", "ptr %numbers, ptr %table, ptr %sums")
        if self.lookup == "bytes":
            self._add_by_bytes(f, bits)
        elif self.lookup == "floats":
            self._add_by_floats(f, bits)
        else:
            with f.loop(0, self.isa.rows, 4) as start:
                for k in range(4):
                    row = f.add(start, k)
                    number = f.value(f"zext i8 {f.element('i8', '%numbers', row)} to i64")
                    self._add_one(f, number, row)
        return f

    def _add_one(self, f: Function, number: str, place: str) -> None:
        value = f.load(self.sums, f.at(self.sums, "%table", number), self.sum_bytes)
        at = f.at(self.sums, "%sums", place)
        f.store(
            self.sums, f.value(f"fadd {self.sums} {f.load(self.sums, at, self.sum_bytes)}, {value}"), at, self.sum_bytes
        )

    def _add_by_bytes(self, f: Function, bits: int) -> None:
        """Four (eight) table lookups of 64 bytes each give the bytes of 64 leaves, which are then interleaved."""
        parts, size = self.sum_bytes, 1 << bits
        tables = [
            [f.load(self.bytes, f.at("i8", "%table", str(part * size + 64 * k)), 64) for k in range(size // 64)]
            for part in range(parts)
        ]
        kind = f"<{64 // parts} x {self.sums}>"
        with f.loop(0, 8) as i:
            index = f.load(self.bytes, self.line_at(f, "%numbers", i), 64)
            columns = [self._looked_up(f, t, index) for t in tables]
            block = f.at("i8", "%sums", f.mul(i, 64 * parts))
            for j, vector in enumerate(self._interleaved(f, columns)):
                at = f.at("i8", block, str(64 * j))
                value = f.value(f"bitcast {self.bytes} {vector} to {kind}")
                f.store(kind, f.value(f"fadd {kind} {f.load(kind, at, 64)}, {value}"), at, 64)

    def _looked_up(self, f: Function, tables: list[str], index: str) -> str:
        b = self.bytes
        if len(tables) == 1:
            return self.call(f, b, "llvm.x86.avx512.permvar.qi.512", (b, tables[0]), (b, index))
        pairs = [
            self.call(f, b, "llvm.x86.avx512.vpermi2var.qi.512", (b, low), (b, index), (b, high))
            for low, high in zip(tables[::2], tables[1::2], strict=True)
        ]
        if len(pairs) == 1:
            return pairs[0]
        upper = f.value(f"icmp slt {b} {index}, zeroinitializer")
        return f.value(f"select <64 x i1> {upper}, {b} {pairs[1]}, {b} {pairs[0]}")

    def _interleaved(self, f: Function, columns: list[str]) -> list[str]:
        """Byte k of the leaves of 64 rows in column k -> vectors of whole leaves.

        x86 interleaves within quarters of 16 bytes, so vector j holds, in quarter q, the leaves of rows 16 q + j *
        (16 / bytes of a leaf) onwards: `place` finds them there.
        """
        if len(columns) == 1:
            return columns
        half = len(columns) // 2
        low, high = self._interleaved(f, columns[:half]), self._interleaved(f, columns[half:])
        return [self._unpacked(f, a, b, half, side) for a, b in zip(low, high, strict=True) for side in (0, 8)]

    def _unpacked(self, f: Function, a: str, b: str, size: int, side: int) -> str:
        """Elements of `size` bytes from the lower (side 0) or upper (8) half of each quarter, a and b in turn."""
        mask = []
        for quarter in range(0, 64, 16):
            for element in range(0, 8, size):
                here = [quarter + side + element + byte for byte in range(size)]
                mask += here + [64 + byte for byte in here]
        return f.shuffle(self.bytes, a, b, mask)

    def _add_by_floats(self, f: Function, bits: int) -> None:
        """16 rows at a time: pairs of 16 leaves by one permutation each, then a choice by each further bit."""
        kind, index_kind = "<16 x float>", "<16 x i32>"
        tables = [f.load(kind, f.at("i8", "%table", str(64 * k)), 64) for k in range((1 << bits) // 16)]
        with f.loop(0, self.isa.rows, 16) as row:
            number = f.value(f"zext <16 x i8> {f.load('<16 x i8>', f.at('i8', '%numbers', row), 16)} to {index_kind}")
            found = [
                self.call(f, kind, "llvm.x86.avx512.vpermi2var.ps.512", (kind, a), (index_kind, number), (kind, b))
                for a, b in zip(tables[::2], tables[1::2], strict=True)
            ]
            bit = 32
            while len(found) > 1:
                mask = "<" + ", ".join([f"i32 {bit}"] * 16) + ">"
                is_set = f.value(
                    f"icmp ne {index_kind} {f.value(f'and {index_kind} {number}, {mask}')}, zeroinitializer"
                )
                found = [
                    f.value(f"select <16 x i1> {is_set}, {kind} {b}, {kind} {a}")
                    for a, b in zip(found[::2], found[1::2], strict=True)
                ]
                bit *= 2
            at = f.at("float", "%sums", row)
            f.store(kind, f.value(f"fadd {kind} {f.load(kind, at, 64)}, {found[0]}"), at, 64)

    def place(self, f: Function, row: str) -> str:
        """Where the sum of a row of a block is kept.

        row itself; with leaves looked up by bytes, as `_interleaved` leaves them:
        row & -64, then vector (row / per) % (16 / per) of 64 bytes, then quarter (row / 16) % 4, then row % per in it
        """
        if self.lookup != "bytes":
            return row
        per = 16 // self.sum_bytes  # leaves in a quarter of a vector
        block = f.value(f"and i64 {row}, -64")
        quarter = f.value(f"and i64 {f.value(f'lshr i64 {row}, 4')}, 3")
        vector = f.value(f"and i64 {f.value(f'lshr i64 {row}, {per.bit_length() - 1}')}, {16 // per - 1}")
        element = f.value(f"and i64 {row}, {per - 1}")
        return f.add(f.add(f.add(block, f.mul(vector, 64 // self.sum_bytes)), f.mul(quarter, per)), element)

    # --- walking ---

    def _walk(self) -> Function:
        """Eight walks at once: at[k] leads from a record to the record of a leaf, over the values at row[k].

        do  four times: for k: record = nodes[at[k]]; x = row[k][record.feature]
                               at[k] = x >= boundary or (x is NaN and NaN goes right) ? record.right : record.left
        while any at[k] moved in the last step                     (a leaf leads back to itself)
        """
        f = self.function("walk", "ptr %nodes, ptr %at, ptr %row")
        rows = [f.load("ptr", f.at("ptr", "%row", str(k)), self.pointer_bytes) for k in range(TOGETHER)]
        at = [f.variable("i64", f.load("i64", f.at("i64", "%at", str(k)), 8)) for k in range(TOGETHER)]
        with f.repeat() as again:
            for _ in range(4):
                before = [f.load("i64", a) for a in at]
                after = [self._step(f, a, row) for a, row in zip(before, rows, strict=True)]
                for a, value in zip(at, after, strict=True):
                    f.store("i64", value, a)
            changed = [f.value(f"xor i64 {a}, {b}") for a, b in zip(before, after, strict=True)]
            while len(changed) > 1:
                changed = [f.value(f"or i64 {a}, {b}") for a, b in zip(changed[::2], changed[1::2], strict=True)]
            again.append(f.value(f"icmp ne i64 {changed[0]}, 0"))
        for k in range(TOGETHER):
            f.store("i64", f.load("i64", at[k]), f.at("i64", "%at", str(k)), 8)
        return f

    def _step(self, f: Function, at: str, row: str) -> str:
        """One record further: `walker` says how it is laid out."""
        size, branches, feature = (16, 8, 4) if self.float_bytes == 4 else (24, 8, 16)
        record = f.at("i8", "%nodes", f.mul(at, size))
        boundary = f.load(self.floats, record, self.float_bytes)
        field = f.load("i32", f.at("i8", record, str(feature)), 4)
        x = f.load(
            self.floats,
            f.at(self.floats, row, f.value(f"zext i32 {f.value(f'lshr i32 {field}, 1')} to i64")),
            self.float_bytes,
        )
        reached = f.value(f"fcmp oge {self.floats} {x}, {boundary}")
        missing = f.value(f"fcmp uno {self.floats} {x}, {x}")
        missing = f.value(f"and i1 {missing}, {f.value(f'trunc i32 {field} to i1')}")
        both = f.load("i64", f.at("i8", record, str(branches)), 8)
        right = f.value(f"zext i1 {f.value(f'or i1 {reached}, {missing}')} to i64")
        taken = f.value(f"lshr i64 {both}, {f.value(f'shl i64 {right}, 5')}")
        return f.value(f"and i64 {taken}, {0xFFFFFFFF}")

    def _walk_rows(self) -> Function:
        """The leaf number, int32, of every row of a block in one tree; eight rows at a time, the last one repeated."""
        f = self.function("walk_rows", "ptr %tables, ptr %rows, i64 %n, i64 %root, ptr %numbers")
        nodes, leaf, width = self.section(f, "walk"), self.section(f, "walk_leaf"), self.header(f, "features")
        at, row = f.buffer(f"[{TOGETHER} x i64]"), f.buffer(f"[{TOGETHER} x ptr]")
        last = f.add("%n", -1)
        with f.loop(0, "%n", TOGETHER) as start:
            for k in range(TOGETHER):
                mine = f.at(self.floats, "%rows", f.mul(f.smaller(f.add(start, k), last), width))
                f.store("ptr", mine, f.at("ptr", row, str(k)), self.pointer_bytes)
                f.store("i64", "%root", f.at("i64", at, str(k)), 8)
            f.do(f"call void @walk(ptr {nodes}, ptr {at}, ptr {row})")
            for k in range(TOGETHER):
                number = f.element("i32", leaf, f.load("i64", f.at("i64", at, str(k)), 8))
                f.store("i32", number, f.at("i32", "%numbers", f.add(start, k)), 4)
        return f

    def _add_walked(self) -> Function:
        """sums[row] += table[number[row]]; numbers are int32."""
        f = self.function("add_walked", "ptr %numbers, ptr %table, ptr %sums, i64 %n")
        with f.loop(0, "%n") as row:
            number = f.value(f"zext i32 {f.element('i32', '%numbers', row)} to i64")
            self._add_one(f, number, self.place(f, row))
        return f
