"""Values -> ranks -> lines of bits -> lines of tests.

ranks, a slot:   rows x -> rank, a byte a row (two above 255 boundaries) -> transposed: line k = bit k of every rank
lines, a group:  rank >= r  =  high digits > h  |  high digits == h & lowest digit >= l;   a set = xor of such lines
"""

from __future__ import annotations

from neoc.kernels.ir import Function
from neoc.kernels.trees.ir_base import Writer
from neoc.kernels.trees.layout import BITS, SLOT
from neoc.kernels.trees.lines import FIRST


class RankWriter(Writer):
    def rank_functions(self) -> list[Function]:
        return [self._ranks(), self._lines()] if self.shape.levels else []

    # --- ranks ---

    @property
    def _key(self) -> str:
        return "i32" if self.integer_keys else self.floats

    @property
    def _keys(self) -> str:
        return f"<16 x {self._key}>"

    def _ranks(self) -> Function:
        """Ranks of one slot's values in a block, as lines of bits.

        for row: x = rows[row][feature]; k = 0
                 for each level: k = 16 k + (how many of node k's keys are <= x)
        rank bytes, transposed -> bits[0..7] (and [8..15] where a rank has two bytes);  NaN -> bits[16]
        """
        f = self.function("ranks", "ptr %tables, ptr %rows, i64 %n, ptr %slot, ptr %scratch, ptr %bits")
        keys, rank, nan = self.section(f, "keys"), self.scratch(f, "rank"), self.scratch(f, "nan")
        width = self.header(f, "features")
        column = f.at(self.floats, "%rows", f.index("%slot", "0"))
        levels = f.element("i32", "%slot", "1")
        for count in self.shape.levels:
            with f.when(f.value(f"icmp eq i32 {levels}, {count}")):
                bases = [f.at(self._keys, keys, f.index("%slot", str(3 + k))) for k in range(count)]
                top = f.load(self._keys, bases[0], 64)
                with f.loop(0, "%n") as row:
                    x = f.load(self.floats, f.at(self.floats, column, f.mul(row, width)), self.float_bytes)
                    spread = self._spread(f, x)
                    place = self._count(f, spread, top)
                    for base in bases[1:]:
                        place = self._descend(f, spread, base, place)
                    if self.integer_keys:
                        place = self._unless_nan(f, x, place)
                    f.store("i8", f.value(f"trunc i64 {place} to i8"), f.at("i8", rank, row))
                    if count > 2:
                        high = f.value(f"trunc i64 {f.value(f'lshr i64 {place}, 8')} to i8")
                        f.store("i8", high, f.at("i8", rank, f.add(row, self.isa.rows)))
                self._bits(f, rank, "%bits")
                if count > 2:
                    self._bits(f, f.at("i8", rank, str(self.isa.rows)), self.line_at(f, "%bits", 8))
        with f.when(f.value(f"icmp ne i32 {f.element('i32', '%slot', '2')}, 0")):
            with f.loop(0, "%n") as row:
                x = f.load(self.floats, f.at(self.floats, column, f.mul(row, width)), self.float_bytes)
                f.store("i8", f.value(f"zext i1 {self.is_nan(f, x)} to i8"), f.at("i8", nan, row))
            line = self.load_line(f, nan)
            for i in range(1, 8):
                part = self.load_line(f, self.line_at(f, nan, i))
                line = self.op(f, "or", line, self.op(f, "shl", part, self.each(i)))
            self.store_line(f, line, self.line_at(f, "%bits", 16))
        return f

    def is_nan(self, f: Function, x: str) -> str:
        return f.value(f"fcmp uno {self.floats} {x}, {x}")

    def _spread(self, f: Function, x: str) -> str:
        """x, or its integer key (`layout.integer_keys`), in 16 lanes."""
        if not self.integer_keys:
            return f.splat(16, self.floats, x)
        bits = f.value(f"bitcast float {x} to i32")
        sign = f.value(f"and i32 {f.value(f'ashr i32 {bits}, 31')}, {0x7FFFFFFF}")
        return f.splat(16, "i32", f.value(f"xor i32 {bits}, {sign}"))

    def _unless_nan(self, f: Function, x: str, place: str) -> str:
        """A NaN's key lies above every number's: its rank is none."""
        return f.value(f"select i1 {self.is_nan(f, x)}, i64 0, i64 {place}")

    def _count(self, f: Function, spread: str, keys: str) -> str:
        """How many of 16 keys are <= x: one comparison of 16 lanes, the bits of its mask counted."""
        test = "icmp sge" if self.integer_keys else "fcmp oge"
        mask = f.value(f"{test} {self._keys} {spread}, {keys}")
        if self.width == 16:  # no instruction makes a number of a mask: add the lanes up
            ones = f.value(f"zext <16 x i1> {mask} to <16 x i32>")
            return f.value(
                f"zext i32 {self.call(f, 'i32', 'llvm.vector.reduce.add.v16i32', ('<16 x i32>', ones))} to i64"
            )
        bits = f.value(f"bitcast <16 x i1> {mask} to i16")
        return f.value(f"zext i16 {self.call(f, 'i16', 'llvm.ctpop.i16', ('i16', bits))} to i64")

    def _descend(self, f: Function, spread: str, base: str, place: str) -> str:
        node = f.load(self._keys, f.at(self._keys, base, place), 64)
        return f.add(f.value(f"shl i64 {place}, 4"), self._count(f, spread, node))

    def _bits(self, f: Function, rank: str, bits: str) -> None:
        vectors = [self.load_line(f, self.line_at(f, rank, i)) for i in range(8)]
        for k, line in enumerate(self.transposed(f, vectors)):
            self.store_line(f, line, self.line_at(f, bits, k))

    # --- lines of tests ---

    def _lines(self) -> Function:
        """The lines of one group, as `lines.stream` wrote them; the two cursors are moved on.

        for slot: low[l] = lowest digit >= l, 16 lines
          for bucket h of 16 ranks: above = high digits > h;  equal = high digits == h
            for l with NaN left:   line = above | equal & low[l]
            for l with NaN right:  line = above | NaN | equal & low[l]
        for set: line = xor of its lines
        """
        f = self.function("lines", "ptr %words_at, ptr %entries_at, ptr %bits, ptr %slots, ptr %lines")
        low = f.buffer(f"[16 x {self.line}]")
        words = self.moved(f, "%words_at")
        entries = self.moved(f, "%entries_at")
        out = f.variable("ptr", self.line_at(f, "%lines", FIRST))
        with f.loop(0, self.word(f, words)):
            slot, buckets = self.word(f, words), self.word(f, words)
            mine = self.line_at(f, "%bits", f.mul(slot, BITS))
            bit = [self.load_line(f, self.line_at(f, mine, k)) for k in range(4)]
            for digit, line in enumerate(self._at_least(f, bit)):
                self.store_line(f, line, self.line_at(f, low, digit))
            nan = self.load_line(f, self.line_at(f, mine, 16))
            levels = f.element("i32", "%slots", f.add(f.mul(slot, SLOT), 1))
            bits = f.value(f"select i1 {f.value(f'icmp sgt i32 {levels}, 2')}, i64 16, i64 8")
            with f.loop(0, buckets):
                bucket, lefts, rights = (self.word(f, words) for _ in range(3))
                above, equal = self._compared(f, mine, bucket, bits)
                for number, start in ((lefts, above), (rights, self.op(f, "or", above, nan))):
                    with f.loop(0, number) as i:
                        lowest = f.value(f"zext i8 {f.element('i8', f.load('ptr', entries), i)} to i64")
                        least = self.load_line(f, self.line_at(f, low, lowest))
                        line = self.op(f, "or", start, self.op(f, "and", equal, least))
                        self.store_line(f, line, self.line_at(f, f.load("ptr", out), i))
                    f.store("ptr", f.at("i8", f.load("ptr", entries), number), entries)
                    f.store("ptr", self.line_at(f, f.load("ptr", out), number), out)
        sets = self.word(f, words)
        if self.shape.sets:
            with f.loop(0, sets):
                line = f.variable(self.line, "zeroinitializer")
                with f.loop(0, self.word(f, words)):
                    part = self.load_line(f, f.at("i8", "%lines", self.word(f, words)))
                    f.store(self.line, self.op(f, "xor", f.load(self.line, line), part), line)
                self.store_line(f, f.load(self.line, line), f.load("ptr", out))
                f.store("ptr", self.line_at(f, f.load("ptr", out), 1), out)
        self.move(f, words, "%words_at")
        self.move(f, entries, "%entries_at")
        return f

    def _compared(self, f: Function, mine: str, bucket: str, bits: str) -> tuple[str, str]:
        """(high digits > bucket, high digits == bucket), from the highest bit down."""
        above, equal = f.variable(self.line, "zeroinitializer"), f.variable(self.line, self.byte(255))
        with f.loop(4, bits) as step:
            k = f.add(f.value(f"sub i64 {bits}, {step}"), 3)
            digit = f.value(f"lshr i64 {bucket}, {f.add(k, -4)}")
            ones = f.value(f"sub i64 0, {f.value(f'and i64 {digit}, 1')}")
            wanted = f.splat(self.width // 8, "i64", ones)
            has, same = self.load_line(f, self.line_at(f, mine, k)), f.load(self.line, equal)
            more = self.op(f, "and", self.op(f, "and", same, has), self.invert(f, wanted))
            f.store(self.line, self.op(f, "or", f.load(self.line, above), more), above)
            f.store(self.line, self.op(f, "and", same, self.invert(f, self.op(f, "xor", has, wanted))), equal)
        return f.load(self.line, above), f.load(self.line, equal)

    def _at_least(self, f: Function, bit: list[str]) -> list[str]:
        """Lines of `digit >= l`, l = 0..15: l's top bit says if the lower bits count where x's is set, or is not."""
        found = [self.byte(255)]
        for line in bit:
            found = [self.op(f, "or", line, low) for low in found] + [self.op(f, "and", line, low) for low in found]
        return found
