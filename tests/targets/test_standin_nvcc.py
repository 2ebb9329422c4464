"""The stand-in of nvcc: it accepts what neoc generates, rejects every bad source, and is never used by accident."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tree_models import drawn

from neoc.kernels.trees.ensemble import EQ, GT, GTE, LEQ, LT, MEMBER, NEQ
from neoc.targets import standins
from neoc.targets.engines.cuda.tree_source import source_of

TOOL = Path(standins.__file__).with_name("nvcc.py")
WORDS = ["-cubin", "-arch=sm_75", "-std=c++17", "-w", "-Xptxas", "-v", "-o", "out.cubin", "k.cu"]
GOOD = """
#define N 4
struct alignas(16) Node { float split; int feature; };
static __device__ float twice(float x) { return 2 * x; }
extern "C" __global__ void __launch_bounds__(128) k(const float* a, const Node* nodes, float* b, long long n);
/* a comment with { */
extern "C" __global__ void __launch_bounds__(128) k(const float* a, const Node* nodes, float* b, long long n) {
  __shared__ alignas(64) float tile[128];
  tile[threadIdx.x] = a[threadIdx.x]; // } another
  __syncthreads();
  float x = twice(fmaf(tile[127 - threadIdx.x], 2.0f, nodes[0].split));
  b[threadIdx.x] = x + __shfl_down_sync(0xffffffff, x, 1, 32);
}
"""


def tool(*words: str, cwd: Path, allowed: bool = True) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith("NEOC_")}
    env |= {"NEOC_ALLOW_STANDIN": "1"} if allowed else {}
    command = [sys.executable, "-I", str(TOOL), *words]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=60, check=False)


def test_it_imports_the_standard_library_alone() -> None:
    tree = ast.parse(TOOL.read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module).split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert names <= sys.stdlib_module_names


def test_it_does_not_run_unless_allowed(tmp_path: Path) -> None:
    for words in (["--version"], ["--list-gpu-arch"], WORDS):
        done = tool(*words, cwd=tmp_path, allowed=False)
        assert (done.returncode, done.stdout) == (3, "")
        assert "NEOC_ALLOW_STANDIN=1" in done.stderr


def test_a_good_source_is_accepted_and_marked(tmp_path: Path) -> None:
    (tmp_path / "k.cu").write_text(GOOD)
    done = tool(*WORDS, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    data = (tmp_path / "out.cubin").read_bytes()
    assert standins.is_marked(data)
    facts = json.loads(data)
    assert facts["kernels"] == [{"name": "k", "parameters": 4, "launch_bounds": 128, "shared_bytes": 512}]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-cubin", "-arch=sm_37", "-o", "out.cubin", "k.cu"], "Unsupported gpu architecture"),
        (["-cubin", "-o", "out.cubin", "k.cu"], "no -arch"),
        (["-ptx", "-arch=sm_75", "-o", "out.cubin", "k.cu"], "Unknown option '-ptx'"),
        (["-arch=sm_75", "-o", "out.cubin", "k.cu"], "only -cubin"),
        (["-cubin", "-arch=sm_75", "-o", "out.cubin", "k.cu", "l.cu"], "exactly one file"),
        (["-cubin", "-arch=sm_75", "k.cu"], "no output file"),
        (["-cubin", "-arch=sm_75", "-Xptxas", "-fast", "-o", "out.cubin", "k.cu"], "Unknown option '-fast'"),
        (["-cubin", "-arch=sm_75", "-o"], "expected a value"),
    ],
)
def test_the_command_line_is_strict(tmp_path: Path, words: list[str], said: str) -> None:
    (tmp_path / "k.cu").write_text(GOOD)
    done = tool(*words, cwd=tmp_path)
    assert done.returncode == 1
    assert said in done.stderr
    assert not (tmp_path / "out.cubin").exists()


MUTATIONS: dict[str, tuple[Callable[[str], str], str]] = {
    "a bracket too few": (lambda s: s.rstrip().removesuffix("}"), "closing"),
    "a bracket too many": (lambda s: s + "}", "unexpected"),
    "brackets crossed": (lambda s: s.replace("a[threadIdx.x];", "a(threadIdx.x];"), "unexpected"),
    "no kernel": (lambda s: s.replace("__global__", "__device__"), "no __global__ function"),
    "a result": (lambda s: s.replace("__global__ void", "__global__ int"), "void return type"),
    "too many threads": (lambda s: s.replace("(128)", "(2048)"), "not between 1 and 1024"),
    "bounds by a name": (lambda s: s.replace("(128)", "(N)"), "not between 1 and 1024"),
    "too much shared": (lambda s: s.replace("tile[128]", "tile[128][200]"), "too much shared data"),
    "shared of a variable size": (lambda s: s.replace("tile[128]", "tile[n]"), "constant value"),
    "shared of an unknown type": (lambda s: s.replace("float tile", "Tile tile"), '"Tile" is undefined'),
    "an unknown function": (lambda s: s.replace("fmaf(", "fmadd("), '"fmadd" is undefined'),
    "an unknown parameter": (lambda s: s.replace("long long n", "Long n"), '"Long" is undefined'),
    "declared otherwise": (lambda s: s.replace("long long n);", "int n);"), "incompatible"),
    "declared only": (lambda s: s.replace(" k(const", " l(const", 1), "Unresolved"),
    "defined twice": (lambda s: s + s[s.rindex("extern") :], "already been defined"),
    "old shuffles": (lambda s: s.replace("__shfl_down_sync(0xffffffff, ", "__shfl_down("), "use the _sync form"),
    "newer hardware": (lambda s: s.replace("tile[threadIdx.x] =", 'asm("x"); cp.async; tile[0] ='), "sm_80 or higher"),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_bad_source_is_rejected(tmp_path: Path, name: str) -> None:
    change, said = MUTATIONS[name]
    bad = change(GOOD)
    assert bad != GOOD
    (tmp_path / "k.cu").write_text(bad)
    done = tool(*WORDS, cwd=tmp_path)
    assert done.returncode == 1
    assert said in done.stderr
    assert not (tmp_path / "out.cubin").exists()


@pytest.mark.parametrize("sm", [53, 90])
def test_tree_kernels_are_accepted(tmp_path: Path, sm: int) -> None:
    ensembles = (
        drawn(1),
        drawn(2, targets=3, compare="f64", total="f64"),
        drawn(3, modes=(LEQ, LT, GTE, GT, EQ, NEQ, MEMBER)),
    )
    for ensemble in ensembles:
        (tmp_path / "k.cu").write_text(source_of(ensemble))
        done = tool("-cubin", f"-arch=sm_{sm}", "-o", "out.cubin", "k.cu", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
