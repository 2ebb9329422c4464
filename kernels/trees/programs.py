"""Any tree as a program over lines: leaves get numbers, a node picks the number of one side bit by bit.

    bits(leaf)  = none: its number is a constant
    bits(node)  = line(node) ? bits(right) : bits(left)

    new top bit   block of 2^(k + 1) numbers: left at 0, right at 2^k; the top bit is the node's line itself, and a bit
                  that only one side has is taken from it as it is (the other side's leaves fill both entries)
    in a gap      the smaller side is placed in a free block of the larger one's numbers: no further bit

A tree no higher than 8 always takes the new bit: its numbers are its paths. A higher one (leaf-wise growth) fills gaps,
so that 256 numbers last for about 256 leaves.
"""

from __future__ import annotations

from dataclasses import dataclass, field

ZERO, ONE = 0, 1
"""the lines of constants"""
MOST_BITS = 8


@dataclass
class Program:
    """ops: (selector, where set, where not): ZERO, ONE, 2 + k for the result of op k, or ~node for a node's line."""

    ops: list[tuple[int, int, int]] = field(default_factory=list)

    def pick(self, selector: int, right: int, left: int) -> int:
        if right == left:
            return right
        if (right, left) == (ONE, ZERO):
            return selector
        self.ops.append((selector, right, left))
        return len(self.ops) + 1


@dataclass
class _Side:
    """A subtree: the lines of the bits of its leaf numbers, the number of each leaf's entries, free blocks."""

    bits: list[int]
    entries: list[tuple[int, int, int]]
    """(leaf, first number, log2 of how many)"""
    free: list[tuple[int, int]]
    """(first number, log2 of how many)"""


@dataclass(frozen=True)
class Made:
    ops: list[tuple[int, int, int]]
    bits: list[int]
    """the lines of the leaf number's bits, lowest first"""
    entries: list[tuple[int, int, int]]
    """(leaf, first number, log2 of how many) of each leaf"""


def program_of(root: int, left: list[int], right: list[int], fill: bool) -> Made | None:
    """The program of a tree; None where 8 bits are too few.

    root and the branches: a node, or ~leaf. fill: place sides in gaps.
    """
    program = Program()
    done: dict[int, _Side] = {}
    stack = [root]
    while stack:  # children first, without recursion: trees may be deep
        at = stack[-1]
        if at < 0:
            done[at] = _Side([], [(~at, 0, 0)], [])
        elif left[at] not in done or right[at] not in done:
            stack += [c for c in (right[at], left[at]) if c not in done]
            continue
        else:
            side = _joined(program, ~at, done.pop(left[at]), done.pop(right[at]), fill)
            if len(side.bits) > MOST_BITS:
                return None
            done[at] = side
        stack.pop()
    whole = done[root]
    return Made(program.ops, whole.bits, whole.entries)


def _joined(program: Program, line: int, left: _Side, right: _Side, fill: bool) -> _Side:
    big, small, big_is_left = (left, right, True) if len(left.bits) >= len(right.bits) else (right, left, False)
    if fill and (gap := _gap(big, len(small.bits))) is not None:
        return _in_gap(program, line, big, small, big_is_left, gap)
    k = len(big.bits)
    bits = []
    for j in range(k):
        if j >= len(small.bits):
            bits.append(big.bits[j])
        else:
            a, b = (small.bits[j], big.bits[j]) if big_is_left else (big.bits[j], small.bits[j])
            bits.append(program.pick(line, a, b))
    bits.append(line)
    base = 1 << k
    # The smaller side's leaves answer to every value of the bits that it has not.
    grow = k - len(small.bits)
    spread = [
        (leaf, first + (c << len(small.bits)), log) for leaf, first, log in small.entries for c in range(1 << grow)
    ]
    empty = (
        [(first + (c << len(small.bits)), log) for first, log in small.free for c in range(1 << grow)]
        if not fill
        else []
    )
    if fill:
        # Bits above the small side's are forced to zero instead, so that the rest of its block is free.
        for j in range(len(small.bits), k):
            a, b = (ZERO, big.bits[j]) if big_is_left else (big.bits[j], ZERO)
            bits[j] = program.pick(line, a, b)
        spread = list(small.entries)
        empty = [*small.free, *((1 << j, j) for j in range(len(small.bits), k))]
    shift_big, shift_small = (0, base) if big_is_left else (base, 0)
    entries = [(leaf, f + shift_big, n) for leaf, f, n in big.entries] + [
        (leaf, f + shift_small, n) for leaf, f, n in spread
    ]
    free = [(f + shift_big, n) for f, n in big.free] + [(f + shift_small, n) for f, n in empty]
    return _Side(bits, entries, free)


def _gap(side: _Side, log: int) -> tuple[int, int] | None:
    fitting = [g for g in side.free if g[1] >= log]
    return min(fitting, key=lambda g: g[1]) if fitting else None


def _in_gap(program: Program, line: int, big: _Side, small: _Side, big_is_left: bool, gap: tuple[int, int]) -> _Side:
    first, log = gap
    have = len(small.bits)
    bits = []
    for j, theirs in enumerate(big.bits):
        ours = small.bits[j] if j < have else (ONE if first >> j & 1 else ZERO)
        bits.append(program.pick(line, *((ours, theirs) if big_is_left else (theirs, ours))))
    free = [g for g in big.free if g != gap] + [(first + (1 << j), j) for j in range(have, log)]
    free += [(first + f, n) for f, n in small.free]
    return _Side(bits, big.entries + [(leaf, first + f, n) for leaf, f, n in small.entries], free)
