"""The C form of a model: a C program around it has the bits of the plain evaluation, at every level and on ARM."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from c_models import called, lacking, program
from tree_models import ALL_MODES, drawn, rows_for, same_bits

from neoc.kernels.errors import KernelCompileError
from neoc.kernels.trees import link
from neoc.kernels.trees.code import finish_image
from neoc.kernels.trees.ensemble import LEQ, Ensemble, evaluate
from neoc.kernels.trees.finish import Finish, Op, check
from neoc.kernels.trees.finisher import Finisher
from neoc.kernels.trees.isa import Isa, isa_of
from neoc.kernels.trees.layout import layout_of
from neoc.kernels.trees.standalone import SECTION, About, Export, header, object_file
from neoc.targets.host import X86_LEVELS, detect

pytestmark = pytest.mark.needs("llvmlite")

EXPORTS = [Export("neoc_predict", "prediction"), Export("neoc_margin", "margin")]
_HERE = detect().features
LEVELS = [(level, needed) for level, needed in X86_LEVELS.items() if needed <= _HERE] + [("host", _HERE)]


def softmax(e: Ensemble) -> Finish:
    dtype = np.dtype(e.sum_dtype).name
    finish = Finish(dtype, e.targets, (Op("Softmax", (0,), dtype, e.targets),), (1, 0))
    check(finish)
    return finish


def written(folder: Path, e: Ensemble, finish: Finish, isa: Isa) -> tuple[Path, Path]:
    """(header, object)"""
    about = About("drawn.json", "test", "0", len(e.roots), tuple(f"column {k}" for k in range(e.features)))
    (folder / "m.h").write_text(header(about, e, finish, EXPORTS, "neoc"))
    (folder / "m.o").write_bytes(object_file(layout_of(e, isa), e, finish, EXPORTS, isa))
    return folder / "m.h", folder / "m.o"


CASES = {
    "f32": {"trees": 30, "height": 9, "full": 0.9, "targets": 3, "modes": ALL_MODES},
    "f64": {"trees": 20, "height": 6, "full": 0.9, "targets": 2, "compare": "f64", "total": "f64", "modes": (LEQ,)},
}


def answers(folder: Path, case: str, isa: Isa, gcc: str, *before: str, counts: tuple[int, ...]) -> list[np.ndarray]:
    """Predictions and margins of the C program, the margins held against the plain evaluation."""
    e = drawn(len(case), **CASES[case])  # type: ignore[arg-type]
    rows = rows_for(e, counts[-1])
    dtypes = [np.dtype(e.row_dtype).name, *[np.dtype(e.sum_dtype).name] * 2]
    made = program(folder, *written(folder, e, softmax(e), isa), dtypes, gcc)
    want = evaluate(e, rows)
    for count in counts:
        shapes = [(d, (count, e.targets)) for d in dtypes[1:]]
        found = called(made, rows[:count], shapes, before)
        assert same_bits(found[1], want[:count]), (case, count)
    return found


def predicted_here(case: str) -> np.ndarray:
    """By the image of this machine's level."""
    e = drawn(len(case), **CASES[case])  # type: ignore[arg-type]
    finish = Finish(softmax(e).dtype, e.targets, softmax(e).ops, (1,))
    image = finish_image(finish, isa_of("x86_64", _HERE))
    margins = evaluate(e, rows_for(e, 1100))
    return Finisher(image, e.sum_dtype, e.targets, [(finish.dtype, e.targets)]).all(margins)[0]


@pytest.mark.needs("gcc")
@pytest.mark.parametrize("level", [n for n, _ in LEVELS if n != "x86-64"])
def test_a_c_program_has_the_bits_at_every_level(level: str, tmp_path: Path) -> None:
    if detect().arch != "x86_64":
        pytest.skip("needs an x86-64 processor")
    isa = isa_of("x86_64", dict(LEVELS)[level])
    for case in CASES if level == "host" else ["f32"]:
        found = answers(tmp_path, case, isa, "gcc", counts=(0, 1, 7, 513, 1100))
        assert same_bits(found[0], predicted_here(case))
        assert np.ptp(np.nan_to_num(found[0])) > 0.5


@pytest.mark.parametrize(
    ("arch", "gcc", "emulator"),
    [
        pytest.param(
            "aarch64",
            "aarch64-linux-gnu-gcc",
            ("qemu-aarch64", "-cpu", "cortex-a72"),
            marks=pytest.mark.needs("qemu-aarch64", "aarch64-linux-gnu-gcc"),
        ),
        pytest.param(
            "armv7",
            "arm-linux-gnueabihf-gcc",
            ("qemu-arm", "-cpu", "cortex-a7"),
            marks=pytest.mark.needs("qemu-arm", "arm-linux-gnueabihf-gcc"),
        ),
    ],
)
def test_a_c_program_has_the_bits_on_emulated_arm(
    arch: str, gcc: str, emulator: tuple[str, ...], tmp_path: Path
) -> None:
    """Denormals among the values and the splits: what 32-bit NEON would take for zero."""
    for case in CASES:
        found = answers(tmp_path, case, isa_of(arch, ()), gcc, *emulator, counts=(1, 300, 1100))
        if detect().arch == "x86_64":
            assert same_bits(found[0], predicted_here(case)), "predictions have the same bits on every processor"


@pytest.mark.needs("gcc")
def test_several_threads_at_once(tmp_path: Path) -> None:
    """All but one take their scratch from malloc; where that has none to give, they are told, and try again."""
    e = drawn(2, trees=60, height=6, full=0.9)
    finish = Finish("float32", 1, (Op("Sigmoid", (0,), "float32", 1),), (1, 0))
    files = written(tmp_path, e, finish, isa_of(detect().arch, _HERE))
    rows = rows_for(e, 3000)
    for name, flags in {"rich": (), "poor": ("-DPOOR", "-Wl,--wrap=malloc")}.items():
        made = program(tmp_path, *files, ["float32"] * 3, "gcc", *flags, name=name)
        found = called(made, rows, [("float32", (3000, 1))] * 2, threads=4)
        assert same_bits(found[1], evaluate(e, rows)), name


GUARDED = """
import ctypes, sys
import numpy as np
from neoc.kernels.guard import Guarded
library = ctypes.CDLL(sys.argv[1])
rows = np.load(sys.argv[2])
for count in (1, 3, len(rows)):
    for at_end in (True, False):
        x = Guarded(rows[:count], at_end)
        for name, columns in (("neoc_predict", 3), ("neoc_margin", 3)):
            out = Guarded(np.zeros((count, columns), np.float32), at_end)
            call = getattr(library, name)
            to = ctypes.c_void_p(out.array.ctypes.data)
            assert call(ctypes.c_void_p(x.array.ctypes.data), ctypes.c_size_t(count), to) == 0
            assert out.array.any()
            out.release()
        x.release()
print("within")
"""


@pytest.mark.needs("gcc")
def test_only_rows_and_results_are_touched(tmp_path: Path) -> None:
    """Each between two unreadable pages; in a process of its own, which an access beside them would end."""
    e = drawn(len("f32"), **CASES["f32"])  # type: ignore[arg-type]
    _, object_ = written(tmp_path, e, softmax(e), isa_of(detect().arch, _HERE))
    subprocess.run(["gcc", "-shared", "-nostdlib", "-o", tmp_path / "m.so", object_], check=True)
    np.save(tmp_path / "rows.npy", rows_for(e, 520))
    command = [sys.executable, "-c", GUARDED, str(tmp_path / "m.so"), str(tmp_path / "rows.npy")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "within", (done.returncode, done.stderr)


def test_the_object_holds_the_tables_and_asks_for_malloc_and_free_alone(tmp_path: Path) -> None:
    e = drawn(4, trees=8, height=5)
    for arch in ("x86_64", "aarch64", "armv7"):
        isa = isa_of(arch, ())
        layout = layout_of(e, isa)
        elf = object_file(layout, e, Finish("float32", 1, (), (0, 0)), EXPORTS, isa)
        at, size = link.section(elf, SECTION)
        assert elf[at : at + size] == layout.tables.tobytes()
        if arch == "x86_64":
            assert elf == object_file(layout, e, Finish("float32", 1, (), (0, 0)), EXPORTS, isa)
        wide = elf[4] == 2
        symbols = link._symbols(elf, link._sections(elf, wide), wide)
        assert {name for name, index, _ in symbols if name and index == 0} == {"malloc", "free"}, arch
        assert {"neoc_predict", "neoc_margin"} <= {name for name, index, _ in symbols if index}
    with pytest.raises(KernelCompileError, match="section"):
        link.section(elf, ".nothing")


@pytest.mark.needs("gcc")
def test_the_header_is_c_and_cpp_whatever_the_model_is_called(tmp_path: Path) -> None:
    e = drawn(4)
    finish = Finish("float32", 1, (Op("Greater", (0, 0), "bool", 1), Op("Cast", (1,), "int64", 1)), (2, 1))
    check(finish)
    words = ('a "quote"', "back\\slash??/", "Grüße*/", "new\nline")
    exports = [Export("fraud_predict", "a */ b", words), Export("fraud_flag", "flag\n")]
    about = About("*/ #error \n #error", "x", "0", 4, ("one */", "two\n#error"))
    text = header(about, e, finish, exports, "fraud")
    (tmp_path / "fraud.h").write_text(text)
    source = '#include "fraud.h"\n#include "fraud.h"\n#include <stdio.h>\nint main(void) {\n'
    source += "for (int k = 0; k < 4; k++) { fputs(fraud_predict_texts[k], stdout); putchar(0); }\n"
    source += "int (*f)(const float *, size_t, int64_t *) = fraud_predict;\n"
    source += (
        "int (*g)(const float *, size_t, uint8_t *) = fraud_flag;\nreturn f && g && FRAUD_FEATURES == 7 ? 0 : 1; }\n"
    )
    for ending in ("c", "cpp"):
        (tmp_path / f"m.{ending}").write_text(source)
    stub = "#include <stddef.h>\nint fraud_predict(void *a, size_t b, void *c) { return a == c && b; }\n"
    (tmp_path / "stub.c").write_text(stub + stub.splitlines()[1].replace("predict", "flag"))
    if why := lacking("gcc"):
        pytest.skip(why)
    flags = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    subprocess.run(["gcc", *flags, "-std=c99", "-o", "m", "m.c", "stub.c"], cwd=tmp_path, check=True)
    out = subprocess.run([tmp_path / "m"], check=True, capture_output=True).stdout
    assert out.decode().split("\0")[:-1] == list(words)
    if subprocess.run(["gcc", "-x", "c++", "-fsyntax-only", "/dev/null"], check=False).returncode == 0:
        subprocess.run(["gcc", *flags, "-fsyntax-only", "m.cpp"], cwd=tmp_path, check=True)
    assert re.search(r"int fraud_predict\(const float \*features, size_t rows, int64_t \*out\);", text)
