"""The table kernels: what runs on each block of rows. Each comes for float32 and for float64 results."""

from __future__ import annotations

from typing import Any

import numpy as np

from neoc.kernels import jit
from neoc.kernels.image_ir import has_fma
from neoc.kernels.tabular_ir import onehot_ir, rows_ir, run_ir

ROWS = 128
"""of a block: its output stays in the first-level cache while every column writes to it"""
LANES = 8
"""columns that `tabular_onehot` takes at a time"""
VECTOR = {"float32": 16, "float64": 8}
"""outputs that `tabular_rows` stores at a time"""


def _make_numeric(pointer: str) -> jit.Kernel:
    real = np.float32 if pointer == "f32" else np.float64

    @jit.kernel(
        *("f64**", "i64*", "i64*", "i32*", "f64*", "f64*", "i64*", "i64", "i64"),
        *("f64*", "i64", "i64", f"{pointer}*", "i64"),
        name=f"tabular_numeric_{pointer}",
    )
    def numeric(
        columns: Any,
        strides: Any,
        starts: Any,
        codes: Any,
        numbers: Any,
        edges: Any,
        targets: Any,
        count: int,
        single: int,
        block: Any,
        row0: int,
        row1: int,
        out: Any,
        width: int,
    ) -> None:
        """Rows row0..row1 (at most ROWS): zero them, then each numeric column through its steps. out begins at
        row 0.
        """
        rows = row1 - row0
        for i in range(row0 * width, row1 * width):
            out[i] = real(0)
        for j in range(count):
            column, stride = columns[j], strides[j]
            for r in range(rows):
                block[r] = column[(row0 + r) * stride]
            for s in range(starts[j], starts[j + 1]):
                code, v = codes[s], numbers[s]
                if code == 0:
                    for r in range(rows):
                        block[r] = block[r] - v
                elif code == 1:
                    for r in range(rows):
                        block[r] = block[r] / v
                elif code == 2:
                    for r in range(rows):
                        block[r] = block[r] * v
                elif code == 3:
                    for r in range(rows):
                        block[r] = block[r] + v
                elif code == 4:
                    for r in range(rows):
                        x = block[r]
                        block[r] = v if x < v else x
                elif code == 5:
                    for r in range(rows):
                        x = block[r]
                        block[r] = v if x > v else x
                elif code == 6:
                    for r in range(rows):
                        x = block[r]
                        block[r] = x if x == x else v
                elif code == 7:
                    for r in range(rows):
                        x = block[r]
                        block[r] = 0.0 if x == x else 1.0
                else:
                    first = np.int64(v)
                    inner = np.int64(edges[first])
                    for r in range(rows):
                        x = block[r]
                        n = 0.0
                        for k in range(inner):
                            n += 1.0 if edges[first + 1 + k] <= x else 0.0
                        block[r] = n if x == x else np.float64(inner)
                if single != 0:  # the source is float32 and every step is rounded to it
                    for r in range(rows):
                        block[r] = np.float64(np.float32(block[r]))
            at = row0 * width + targets[j]
            for r in range(rows):
                out[at + r * width] = real(block[r])

    return numeric


def _make_runs(pointer: str) -> jit.Kernel:
    name = f"tabular_run_{pointer}"

    @jit.ir_kernel(name, "f64*", "i64", "f64*", "i64", "i64", "i64", "i64", f"{pointer}*", "i64")
    def run(features: frozenset[str]) -> str:
        """Neighbouring columns to neighbouring outputs, all of them ((x or its substitute) - a) / b, row by row.

        numbers: [5, count]: substitute, a, b, and 1 / b as the sum of two float64.
        """
        return run_ir(name, pointer == "f32" and has_fma(features))

    return run


def _make_onehot(pointer: str) -> jit.Kernel:
    name = f"tabular_onehot_{pointer}"

    @jit.ir_kernel(
        name,
        *("f64*", "i64", "f64*", "i32*", "i32*", f"{pointer}*", "i64*", "i64"),
        *("i64", "i64", f"{pointer}*", "i64"),
    )
    def onehot(features: frozenset[str]) -> str:
        """Neighbouring columns of whole-number categories without gaps, eight at a time."""
        return onehot_ir(name)

    return onehot


def _make_rows(pointer: str) -> jit.Kernel:
    name = f"tabular_rows_{pointer}"

    @jit.ir_kernel(
        name,
        *("f64*", "f64*", "i64", "f64*", "i64", "f64*", "i64", "i32*", f"{pointer}*", "i64", "i64*"),
        *("i64", "i64", f"{pointer}*", "i64"),
    )
    def rows(features: frozenset[str]) -> str:
        """Numeric neighbours, then one-hot neighbours, that make up whole rows."""
        return rows_ir(name, pointer == "f32" and has_fma(features))

    return rows


def _make_category(pointer: str) -> jit.Kernel:
    real = np.float32 if pointer == "f32" else np.float64

    @jit.kernel(
        *("i32**", "f64**", "i64*", "i64*", "f64*", "i32*", "f64*", "f64*", "i64*", "f64*", "i32*", "i64"),
        *("i64", "i64", f"{pointer}*", "i64"),
        name=f"tabular_category_{pointer}",
    )
    def category(
        coded: Any,
        valued: Any,
        strides: Any,
        facts: Any,
        reals: Any,
        slots: Any,
        values: Any,
        ordered: Any,
        unseen: Any,
        block: Any,
        entry: Any,
        count: int,
        row0: int,
        row1: int,
        out: Any,
        width: int,
    ) -> None:
        """Rows row0..row1 (at most ROWS): the table entry of each value, then the output of each entry.

        facts[j]: source (0 codes, 1 table, 2 search), first entry, number of values, first output, is one-hot. The two
        entries after the values are those of NaN and of unseen values. slots: output within the column, -1 none,
        -2 unseen.
        reals[j]: low end of the table, substitute for NaN. Steps are apart so that the arithmetic is vectorised.
        """
        rows = row1 - row0
        for j in range(count):
            source, start, size = facts[5 * j], facts[5 * j + 1], facts[5 * j + 2]
            target, onehot = facts[5 * j + 3], facts[5 * j + 4]
            low, impute = reals[2 * j], reals[2 * j + 1]
            end, none, unknown = np.float64(size), np.float64(size), np.float64(size + 1)
            if source == 0:
                codes = coded[j]
                for r in range(rows):
                    k = codes[row0 + r]
                    entry[r] = k if k >= 0 else np.int32(size + 1)
            else:
                column, stride = valued[j], strides[j]
                for r in range(rows):
                    block[r] = column[(row0 + r) * stride]
                for r in range(rows):
                    x = block[r]
                    block[r] = (x if x == x else impute) - low
                if source == 1:
                    for r in range(rows):
                        x = block[r]
                        other = unknown if x == x else none
                        good = (x >= 0.0) & (x < end) & (np.floor(x) == x)
                        entry[r] = np.int32(x if good else other)
                else:
                    for r in range(rows):
                        x = block[r]
                        a, b = np.int64(0), size
                        while a < b:
                            middle = (a + b) >> 1
                            if ordered[start + middle] < x:
                                a = middle + 1
                            else:
                                b = middle
                        hit = a < size and ordered[start + a] == x
                        entry[r] = np.int32(a if hit else (size + 1 if x == x else size))
            missed = 0
            at = row0 * width + target
            if onehot == 0:
                for r in range(rows):
                    k = start + entry[r]
                    missed += 1 if slots[k] == -2 else 0
                    out[at + r * width] = real(values[k])
            else:
                for r in range(rows):  # no branch: where there is nothing to set, output 0 is set to 0
                    slot = slots[start + entry[r]]
                    missed += 1 if slot == -2 else 0
                    out[at + r * width + max(slot, np.int32(0))] = real(1) if slot >= 0 else real(0)
            unseen[j] += missed

    return category


NUMERIC = {"float32": _make_numeric("f32"), "float64": _make_numeric("f64")}
RUN = {"float32": _make_runs("f32"), "float64": _make_runs("f64")}
WHOLE = {"float32": _make_rows("f32"), "float64": _make_rows("f64")}
ONEHOT = {"float32": _make_onehot("f32"), "float64": _make_onehot("f64")}
CATEGORY = {"float32": _make_category("f32"), "float64": _make_category("f64")}
