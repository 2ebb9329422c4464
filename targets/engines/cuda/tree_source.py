"""CUDA C for one tree ensemble, and the tables that it walks.

    thread = row;  for each tree: walk from the root to a leaf, add the leaf's value

The leaves of a row are added one after another in the order of the trees, as the source library does: the margins have
its bits. The text depends on the ensemble's shape alone (features, targets, dtypes, the tests that occur); trees and
leaves are data.

    node, 16 bytes: split f32 | feature, test << 20, missing << 23 | true child | false child
    node, 24 bytes: split f64 | the same three | 0
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from neoc.kernels.trees.ensemble import EQ, FLOOR, GT, GTE, LEQ, LT, MEMBER, NEQ, Ensemble

KERNEL = "trees_kernel"
BLOCK = 128
"""threads: enough warps to hide the loads of a walk, few enough that small batches spread over the chip"""
_KIND = 20
_MISSING = _KIND + 3

F32 = np.dtype([("split", "<f4"), ("test", "<u4"), ("yes", "<i4"), ("no", "<i4")])
F64 = np.dtype([("split", "<f8"), ("test", "<u4"), ("yes", "<i4"), ("no", "<i4"), ("zero", "<i4")])

_TESTS = {
    LEQ: "x <= node.split",
    LT: "x < node.split",
    GTE: "x >= node.split",
    GT: "x > node.split",
    EQ: "x == node.split",
    NEQ: "x != node.split",
    MEMBER: "in_set(x, members, member_start[at], member_start[at + 1])",
}


@dataclass(frozen=True)
class TreeTables:
    """Arrays in the order in which the kernel takes them, between its rows and its margins."""

    arrays: dict[str, np.ndarray]


def tables_of(e: Ensemble) -> TreeTables:
    nodes = np.zeros(e.nodes, F32 if e.compare == "f32" else F64)
    nodes["split"], nodes["yes"], nodes["no"] = e.split, e.true_child, e.false_child
    nodes["test"] = e.feature.astype(np.uint32) | e.mode.astype(np.uint32) << _KIND
    nodes["test"] |= e.missing_true.astype(np.uint32) << _MISSING
    arrays = {"nodes": nodes, "roots": e.roots, "leaf_value": e.leaf_value}
    if e.targets > 1:
        arrays["leaf_target"] = e.leaf_target
    if _has_sets(e):
        arrays |= {"member_start": e.member_start, "members": e.members.astype(e.row_dtype)}
    if e.casts().any():
        arrays["casts"] = e.casts()
    return TreeTables({name: np.ascontiguousarray(a) for name, a in arrays.items()})


def _has_sets(e: Ensemble) -> bool:
    return bool((e.mode == MEMBER).any())


_C = {"float32": "float", "float64": "double", "int32": "int", "int64": "long long", "uint8": "unsigned char"}


def source_of(e: Ensemble) -> str:
    row, total = ("float" if e.compare == "f32" else "double"), ("double" if e.sum == "f64" else "float")
    arrays = tables_of(e).arrays
    parameters = [f"const {row}* __restrict__ rows"]
    parameters += [
        f"const {'Node' if name == 'nodes' else _C[a.dtype.name]}* __restrict__ {name}" for name, a in arrays.items()
    ]
    parameters += [f"{total}* __restrict__ margins", "long long count"]
    pad = " int zero;" if row == "double" else ""
    return f"""\
// {len(e.roots)} trees are data; the text is for {e.features} features, {e.targets} targets, {row} rows, {total} sums
struct alignas({16 if row == "float" else 8}) Node {{ {row} split; unsigned int test; int yes; int no;{pad} }};
{_set_function(row) if _has_sets(e) else ""}
extern "C" __global__ void __launch_bounds__({BLOCK}) {KERNEL}(
    {("," + chr(10) + "    ").join(parameters)}) {{
  const long long row = (long long)blockIdx.x * {BLOCK} + threadIdx.x;
  if (row >= count) return;
  const {row}* features = rows + row * {e.features};
{_sums(e, total)}
}}
"""


def _set_function(row: str) -> str:
    return f"""
static __device__ bool in_set({row} x, const {row}* members, long long from, long long to) {{
  for (long long i = from; i < to; ++i)
    if (x == members[i]) return true;
  return false;
}}
"""


def _sums(e: Ensemble, total: str) -> str:
    """The body: one sum in a register, several in the row's own place in the result."""
    add = "__dadd_rn" if total == "double" else "__fadd_rn"
    if e.targets == 1:
        begin, step, end = f"  {total} sum = 0;", f"sum = {add}(sum, leaf_value[~at]);", "\n  margins[row] = sum;"
    else:
        begin = f"  {total}* sums = margins + row * {e.targets};\n"
        begin += f"  for (int t = 0; t < {e.targets}; ++t) sums[t] = 0;"
        step = f"sums[leaf_target[~at]] = {add}(sums[leaf_target[~at]], leaf_value[~at]);"
        end = ""
    return f"""\
{begin}
  for (int tree = 0; tree < {len(e.roots)}; ++tree) {{
    int at = roots[tree];
    while (at >= 0) {{
      const Node node = nodes[at];
      {_load(e)}
      const bool yes = x != x ? (node.test >> {_MISSING} & 1) != 0 : {_test(e)};
      at = yes ? node.yes : node.no;
    }}
    {step}
  }}{end}"""


def _load(e: Ensemble) -> str:
    value = f"features[node.test & {(1 << _KIND) - 1}]"
    row = "float" if e.compare == "f32" else "double"
    if not e.casts().any():
        return f"const {row} x = {value};"
    f = "f" if row == "float" else ""
    kind = f"casts[node.test & {(1 << _KIND) - 1}]"
    return (
        f"const {row} given = {value};\n"
        f"      const {row} x = {kind} == 0 ? given : {kind} == {FLOOR} ? floor{f}(given) : trunc{f}(given);"
    )


def _test(e: Ensemble) -> str:
    """The tests that occur, chosen by the node where there are several."""
    modes: list[Any] = sorted(set(e.mode.tolist())) or [LEQ]
    text = _TESTS[modes[-1]]
    for mode in reversed(modes[:-1]):
        text = f"(node.test >> {_KIND} & 7) == {mode} ? {_TESTS[mode]} : {text}"
    return f"({text})"
