"""The peaks of this machine: FLOP/s per dtype and memory bandwidth, measured in about five seconds and cached.

With llvmlite the arithmetic peak comes from a loop of independent multiply-adds in registers, compiled for this CPU:
nothing but the multiply-add units is timed. Without it, a BLAS matrix product gives a lower bound, and says so.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from neoc.compile.contracts import Figure
from neoc.compile.files import write_atomically
from neoc.compile.settings import Settings
from neoc.targets.host import HostFacts, detect

REPEATS = 8
TRIAD_BYTES = 64 << 20
"""of each of three arrays: several times the last-level cache of most machines"""
TRIAD_BLOCK = 1 << 16
"""elements worked on at a time: they stay in cache between the two passes, and numpy's own overhead stays below 2 %"""
METHOD = 2
"""raised when a kernel here changes: figures of another method are measured anew"""


@dataclass(frozen=True)
class Peaks:
    """Of the whole chip: every core that this process may use, running at once."""

    peak_flops: dict[str, Figure]
    """dtype -> operations per second, a multiply-add counted as two"""
    bandwidth: Figure
    """bytes per second, read and written, between memory and chip"""
    threads: int
    core_flops: dict[str, Figure]
    """the same of one core alone"""
    core_bandwidth: Figure

    def as_dict(self) -> dict[str, Any]:
        return {
            "peak_flops": {k: [f.value, f.source] for k, f in self.peak_flops.items()},
            "bandwidth": [self.bandwidth.value, self.bandwidth.source],
            "threads": self.threads,
            "core_flops": {k: [f.value, f.source] for k, f in self.core_flops.items()},
            "core_bandwidth": [self.core_bandwidth.value, self.core_bandwidth.source],
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Peaks:
        flops, alone = ({k: Figure(*pair) for k, pair in data[key].items()} for key in ("peak_flops", "core_flops"))
        return cls(flops, Figure(*data["bandwidth"]), data["threads"], alone, Figure(*data["core_bandwidth"]))


def cached() -> Peaks | None:
    """What was measured on this machine before; None where nothing was."""
    try:
        return Peaks.from_dict(json.loads(_place().read_text()))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def measure(progress: Callable[[str, str], None] | None = None) -> Peaks:
    """Measure now and cache. Raises OutputError where the cache cannot be written."""
    say = progress or (lambda stage, detail: None)
    host = detect()
    threads = max(1, host.logical_cores)
    all_cores: dict[str, Figure] = {}
    one_core: dict[str, Figure] = {}
    for kernel in _kernels(host):
        say("peak", kernel.dtype)
        for count, flops in ((threads, all_cores), (1, one_core)):
            source = f"measured: {kernel.what}, {_threads(count)}, best of {REPEATS}"
            flops[kernel.dtype] = Figure(_rate(kernel, count), source)
    if not all_cores:
        say("peak", "float32 by BLAS")
        figure = Figure(_blas_rate(), "measured: numpy sgemm, a lower bound (llvmlite gives the real peak)")
        all_cores["float32"] = figure
    say("peak", "memory")
    together, alone = (
        Figure(_triad_rate(count), f"measured: triad a = b + s*c, {_threads(count)}, best of {REPEATS}")
        for count in (threads, 1)
    )
    found = Peaks(all_cores, together, threads, one_core, alone)
    _place().parent.mkdir(parents=True, exist_ok=True)
    write_atomically(_place(), json.dumps(found.as_dict(), indent=1).encode())
    return found


def _threads(count: int) -> str:
    return f"{count} thread" + "s" * (count > 1)


def _place() -> Path:
    """One file for a CPU model, its cores, and the versions of what measures."""
    host = detect()
    tools = "-".join(f"{name}{_version(name)}" for name in ("llvmlite", "numpy"))
    words = re.sub(r"[^\w.]+", "_", f"{host.cpu}-{host.logical_cores}-{METHOD}-{tools}")
    return Settings.read().cache_dir / "peaks" / f"{words}.json"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


# ---- arithmetic ----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Kernel:
    """`steps` multiply-adds on vectors of `lanes` accumulators an iteration, each worth `ops` operations."""

    dtype: str
    what: str
    call: Callable[[int, np.ndarray], None]
    """(iterations, 64 spare bytes)"""
    ops: int
    """operations of one iteration"""


_ROWS = (
    # dtype, CPU flag, accumulator, operand, operations per accumulator lane, intrinsic
    ("float32", "avx512f", "<16 x float>", "<16 x float>", 2, "llvm.fma.v16f32"),
    ("float32", "fma", "<8 x float>", "<8 x float>", 2, "llvm.fma.v8f32"),
    ("float64", "avx512f", "<8 x double>", "<8 x double>", 2, "llvm.fma.v8f64"),
    ("float64", "fma", "<4 x double>", "<4 x double>", 2, "llvm.fma.v4f64"),
    ("int8", "avx512_vnni", "<16 x i32>", "<16 x i32>", 8, "llvm.x86.avx512.vpdpbusd.512"),
    ("bfloat16", "avx512_bf16", "<16 x float>", "<32 x bfloat>", 4, "llvm.x86.avx512bf16.dpbf16ps.512"),
)


def _kernels(host: HostFacts) -> list[_Kernel]:
    """The widest kernel of each dtype that this CPU runs; none without llvmlite."""
    chosen: dict[str, _Kernel] = {}
    for dtype, flag, acc, operand, ops, intrinsic in _ROWS:
        if dtype in chosen or flag not in host.features:
            continue
        steps = 24 if flag.startswith("avx512") else 12  # as many as the registers hold beside the two operands
        name = f"peak_{dtype}_{flag}"
        call = _compile(name, _assembly(name, acc, operand, intrinsic, steps))
        if call is None:
            return []
        lanes = int(acc.split()[0].strip("<"))
        chosen[dtype] = _Kernel(
            dtype, f"{steps} independent {acc} multiply-adds in registers", call, steps * lanes * ops
        )
    return list(chosen.values())


def _assembly(name: str, acc: str, operand: str, intrinsic: str, steps: int) -> str:
    """LLVM IR: for i in 0..n: every accumulator becomes accumulator * a + b (or accumulator + a . b)."""
    fused = intrinsic.startswith("llvm.fma")
    add = "add" if " x i" in acc else "fadd"
    phis = [f"  %p{k} = phi {acc} [ %z{k}, %entry ], [ %q{k}, %loop ]" for k in range(steps)]
    order = "{acc} %p{k}, {operand} %a, {operand} %a" if not fused else "{acc} %p{k}, {acc} %seed, {acc} %seed"
    calls = [f"  %q{k} = call {acc} @{intrinsic}({order.format(acc=acc, operand=operand, k=k)})" for k in range(steps)]
    # Every accumulator starts from another value: equal chains would be merged into one.
    starts = [f"  %z0 = {add} {acc} %seed, %seed"]
    starts += [f"  %z{k} = {add} {acc} %z{k - 1}, %seed" for k in range(1, steps)]
    sums = [f"  %s0 = {add} {acc} %q0, %q1"]
    sums += [f"  %s{k} = {add} {acc} %s{k - 1}, %q{k + 1}" for k in range(1, steps - 1)]
    declared = ", ".join([acc, operand, operand])
    lines = [
        f"declare {acc} @{intrinsic}({declared})",
        f"define void @{name}(i64 %n, ptr %out) {{",
        "entry:",
        f"  %seed = load {acc}, ptr %out, align 1",
        f"  %a = load {operand}, ptr %out, align 1",
        *starts,
        "  br label %loop",
        "loop:",
        "  %i = phi i64 [ 0, %entry ], [ %next, %loop ]",
        *phis,
        *calls,
        "  %next = add i64 %i, 1",
        "  %more = icmp slt i64 %next, %n",
        "  br i1 %more, label %loop, label %done",
        "done:",
        *sums,
        f"  store {acc} %s{steps - 2}, ptr %out, align 1",
        "  ret void",
        "}",
    ]
    return "\n".join(lines)


@cache
def _compile(name: str, text: str) -> Callable[[int, np.ndarray], None] | None:
    """The function compiled for this CPU; None where that cannot be done here (no llvmlite)."""
    from neoc.kernels import jit
    from neoc.kernels.errors import KernelCompileError

    made = jit.Kernel(name, ("i64", "u8*"), ir=lambda features: text)
    try:
        made.load()
    except (ImportError, KernelCompileError):
        return None
    return made


def _rate(kernel: _Kernel, threads: int) -> float:
    """Operations per second of `threads` copies at once; the best of several short runs."""
    spare = [np.zeros(64, np.uint8) for _ in range(threads)]
    count = 4_000_000
    best = min(_together(lambda k: kernel.call(count, spare[k]), threads) for _ in range(REPEATS))
    return kernel.ops * count * threads / best


def _together(call: Callable[[int], None], threads: int) -> float:
    """Seconds from the first start of `call(its number)` to the last end."""
    barrier = threading.Barrier(threads)
    began, ended = [0.0] * threads, [0.0] * threads

    def work(number: int) -> None:
        barrier.wait()
        began[number] = time.perf_counter()
        call(number)
        ended[number] = time.perf_counter()

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return max(ended) - min(began)


def _blas_rate() -> float:
    size = 1024
    a = np.random.default_rng(0).standard_normal((size, size)).astype(np.float32)
    out = np.empty_like(a)

    def once() -> float:
        start = time.perf_counter()
        np.matmul(a, a, out=out)
        return time.perf_counter() - start

    return 2 * size**3 / min(once() for _ in range(REPEATS))


# ---- memory --------------------------------------------------------------------------------


def _triad_rate(threads: int) -> float:
    """Bytes per second of a = b + s*c: three arrays pass, written lines are counted once (no write-allocate)."""
    count = TRIAD_BYTES // 8 // threads
    arrays = [[np.ones(count) for _ in range(3)] for _ in range(threads)]

    def triad(number: int) -> None:
        a, b, c = arrays[number]
        # In blocks that stay in cache: numpy has no fused triad, so a second pass over memory would be counted as one.
        for at in range(0, count, TRIAD_BLOCK):
            block = slice(at, at + TRIAD_BLOCK)
            np.multiply(c[block], 3.0, out=a[block])
            np.add(a[block], b[block], out=a[block])

    best = min(_together(triad, threads) for _ in range(REPEATS))
    return 3 * 8 * count * threads / best


if __name__ == "__main__":
    peaks = measure()
    for name, figure in peaks.peak_flops.items():
        print(f"{name}: {figure.value / 1e9:.1f} Gop/s ({figure.source})")
    print(f"memory: {peaks.bandwidth.value / 1e9:.1f} GB/s ({peaks.bandwidth.source})")
