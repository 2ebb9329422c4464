"""A model as one object file for C: code, tables and the functions of its header; of a C library, malloc and free.

    int NAME(rows, count, out):
      scratch = the library's own, if nobody has it (one compare-and-swap), else from malloc
      for a block of rows:  neoc_trees(tables, rows, n, margins, scratch)
                            finish_K(margins, n, out)
      give the scratch back

No thread, no lock, no start-up, no state between calls. The tables are written into the finished object: LLVM sees a
section of zeros that it may assume nothing about, so that a model of 100 MB compiles in the time of a small one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from neoc.kernels.ir import DECLARATIONS
from neoc.kernels.trees import link
from neoc.kernels.trees.code import object_code
from neoc.kernels.trees.ensemble import Ensemble
from neoc.kernels.trees.finish import Finish, itemsize
from neoc.kernels.trees.ir_finish import FinishWriter
from neoc.kernels.trees.ir_kernel import ENTRY, KernelWriter
from neoc.kernels.trees.isa import Isa
from neoc.kernels.trees.layout import HEADER, Layout

SECTION = ".rodata.neoc"
C_TYPES = {"float32": "float", "float64": "double", "int32": "int32_t", "int64": "int64_t", "bool": "uint8_t"}


@dataclass(frozen=True)
class Export:
    """A function of the header: the rows -> one output of the model."""

    name: str
    output: str
    """what the model calls it"""
    words: tuple[str, ...] = ()
    """where the output is a text: what each number that the function gives stands for"""


def object_file(layout: Layout, e: Ensemble, finish: Finish, exports: Sequence[Export], isa: Isa) -> bytes:
    """A relocatable ELF object. finish: checked, with one output for each export. Needs llvmlite."""
    text = standalone_ir(layout, e, finish, exports, isa)
    elf = bytearray(object_code(text, isa))
    at, size = link.section(elf, SECTION)
    elf[at : at + size] = layout.tables.tobytes().ljust(size, b"\0")
    return bytes(elf)


def standalone_ir(layout: Layout, e: Ensemble, finish: Finish, exports: Sequence[Export], isa: Isa) -> str:
    """LLVM IR of all functions; the tables' bytes are left out."""
    kernel, finisher = KernelWriter(layout.shape, isa, exported=False), FinishWriter(finish, isa)
    # LLVM takes a point in a name and C does not: no name of a function inside can be one that is asked for.
    functions = [*kernel.functions(), *(finisher.function(1 + i, (k,)) for i, k in enumerate(finish.outputs))]
    bodies = _inside(finisher.globals() + "\n".join(f.text() for f in functions))
    used = "\n".join(sorted(kernel.used | finisher.used))
    return "\n".join(
        [
            DECLARATIONS + used,
            bodies,
            _run(layout.tables, e, isa),
            *(_exported(export, finish, k, isa) for k, export in enumerate(exports)),
        ]
    )


def _inside(text: str) -> str:
    return re.sub(r"@(?!llvm\.)(?=\w)", "@neoc.", text)


def _exported(export: Export, finish: Finish, k: int, isa: Isa) -> str:
    value, size = finish.value(finish.outputs[k]), f"i{isa.pointer}"
    count = "%count" if isa.pointer == 64 else "%n"
    widened = "" if isa.pointer == 64 else f"  %n = zext {size} %count to i64\n"
    arguments = (
        f"ptr %rows, i64 {count}, ptr %out, i64 {value.columns * itemsize(value.dtype)}, ptr @neoc.finish_{1 + k}"
    )
    return (
        f"define i32 @{export.name}(ptr %rows, {size} %count, ptr %out) nounwind {{\n{widened}"
        f"  %failed = call i32 @neoc.run({arguments})\n  ret i32 %failed\n}}\n"
    )


def _run(tables: NDArray[np.uint8], e: Ensemble, isa: Isa) -> str:
    """int32 run(rows, count, out, bytes of a row of `out`, finish_K): 0, or 1 where there is no memory."""
    head = dict(zip(HEADER, tables[: 8 * len(HEADER)].view(np.int64).tolist(), strict=True))
    margins = -(-head["scratch_bytes"] // 64) * 64
    total = margins + isa.rows * e.targets * np.dtype(e.sum_dtype).itemsize
    row = e.features * np.dtype(e.row_dtype).itemsize
    size, section = f"i{isa.pointer}", f'section "{SECTION}", align 64'
    return f"""
@neoc.tables = internal externally_initialized constant [{len(tables)} x i8] zeroinitializer, {section}
@neoc.scratch = internal global [{total} x i8] zeroinitializer, align 64
@neoc.taken = internal global i32 0, align 4
declare noalias ptr @malloc({size})
declare void @free(ptr)

define internal i32 @neoc.run(ptr %rows, i64 %count, ptr %out, i64 %out_bytes, ptr %finish) nounwind "no-builtins" {{
entry:
  %args = alloca [5 x i64], align 8
  %swap = cmpxchg ptr @neoc.taken, i32 0, i32 1 acquire monotonic
  %own = extractvalue {{ i32, i1 }} %swap, 1
  br i1 %own, label %start, label %another
another:
  %raw = call ptr @malloc({size} {total + 64})
  %none = icmp eq ptr %raw, null
  br i1 %none, label %failed, label %aligned
aligned:
  %raw.number = ptrtoint ptr %raw to {size}
  %raw.above = add {size} %raw.number, 63
  %raw.even = and {size} %raw.above, -64
  %made = inttoptr {size} %raw.even to ptr
  br label %start
start:
  %scratch = phi ptr [ @neoc.scratch, %entry ], [ %made, %aligned ]
  %owned = phi ptr [ null, %entry ], [ %raw, %aligned ]
  %margins = getelementptr i8, ptr %scratch, i64 {margins}
{_stored(0, "@neoc.tables")}{_stored(3, "%margins")}{_stored(4, "%scratch")}  br label %next
next:
  %done = phi i64 [ 0, %start ], [ %following, %block ]
  %left = sub i64 %count, %done
  %more = icmp sgt i64 %left, 0
  br i1 %more, label %block, label %end
block:
  %n = call i64 @llvm.smin.i64(i64 %left, i64 {isa.rows})
  %row.offset = mul i64 %done, {row}
  %row = getelementptr i8, ptr %rows, i64 %row.offset
{_stored(1, "%row")}  %args.n = getelementptr i64, ptr %args, i64 2
  store i64 %n, ptr %args.n, align 8
  call void @neoc.{ENTRY}(ptr %args)
  %out.offset = mul i64 %done, %out_bytes
  %to = getelementptr i8, ptr %out, i64 %out.offset
  call void %finish(ptr %margins, i64 %n, ptr %to)
  %following = add i64 %done, %n
  br label %next
end:
  br i1 %own, label %release, label %give
release:
  store atomic i32 0, ptr @neoc.taken release, align 4
  ret i32 0
give:
  call void @free(ptr %owned)
  ret i32 0
failed:
  ret i32 1
}}
"""


def _stored(k: int, pointer: str) -> str:
    """Argument k of the trees' kernel."""
    return (
        f"  %args.{k}.value = ptrtoint ptr {pointer} to i64\n"
        f"  %args.{k} = getelementptr i64, ptr %args, i64 {k}\n"
        f"  store i64 %args.{k}.value, ptr %args.{k}, align 8\n"
    )


# ---- the header ------------------------------------------------------------------------------


@dataclass(frozen=True)
class About:
    """What the header says of the model beside its functions."""

    model: str
    target: str
    version: str
    """of neoc"""
    trees: int
    feature_names: tuple[str, ...] = ()


def header(about: About, e: Ensemble, finish: Finish, exports: Sequence[Export], prefix: str) -> str:
    """The C header (C99, C++) of `object_file`."""
    upper, row = prefix.upper(), C_TYPES[np.dtype(e.row_dtype).name]
    lines = [
        f"/* {_comment(about.model)} for {about.target}, compiled by neoc {about.version}:",
        f"   {about.trees} trees, {e.features} features, {e.targets} {'sum' if e.targets == 1 else 'sums'} a row.",
        "",
        "   Every function takes `rows` rows of features, one after another, and writes so many values a row to `out`.",
        "   A missing value is NaN. It returns 0, or 1 where several threads call at once and memory is short.",
        "   Safe to call from any number of threads. Needs malloc and free, nothing else. */",
        f"#ifndef {upper}_MODEL_H",
        f"#define {upper}_MODEL_H",
        "",
        "#include <stddef.h>",
        "#include <stdint.h>",
        "",
        "#ifdef __cplusplus",
        'extern "C" {',
        "#endif",
        "",
        f"#define {upper}_FEATURES {e.features}",
    ]
    lines += [f"/* {k}: {_comment(name)} */" for k, name in enumerate(about.feature_names[: e.features])]
    for k, export in enumerate(exports):
        lines += ["", *_declared(export, replace(finish, outputs=finish.outputs[k : k + 1]), upper, row)]
    lines += ["", "#ifdef __cplusplus", "}", "#endif", "#endif", ""]
    return "\n".join(lines)


def _declared(export: Export, finish: Finish, upper: str, row: str) -> list[str]:
    value = finish.value(finish.outputs[0])
    name = export.name.upper()
    lines = [
        f"/* The model's `{_comment(export.output)}`: {value.columns} a row. */",
        f"#define {name}_COLUMNS {value.columns}",
        f"int {export.name}(const {row} *features, size_t rows, {C_TYPES[value.dtype]} *out);",
    ]
    if export.words:
        lines.insert(1, f"/* A number: the text that it stands for is {export.name}_texts[number]. */")
        texts = ", ".join(_quoted(word) for word in export.words)
        lines.append(f"static const char *const {export.name}_texts[{len(export.words)}] = {{{texts}}};")
    return lines


def _comment(text: str) -> str:
    """On one line, and without an end of the comment in it."""
    return " ".join(text.split()).replace("*/", "* /").replace("/*", "/ *")


def _quoted(text: str) -> str:
    """A C string of UTF-8; octal, which ends after three digits whatever follows. `??` could begin a trigraph."""
    plain = {ord(c) for c in "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 _-.,:;()[]/+=<>#@!"}
    return '"' + "".join(chr(b) if b in plain else f"\\{b:03o}" for b in text.encode()) + '"'
