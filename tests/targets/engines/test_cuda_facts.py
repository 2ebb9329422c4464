"""What is read out of cubins, against what ptxas says of them; occupancy, against NVIDIA's own reckoning."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neoc.compile.errors import InvalidArtifact
from neoc.targets.engines.cuda import compilers
from neoc.targets.engines.cuda.cubin import read_cubin
from neoc.targets.engines.cuda.kernels import facts_of, in_short, ptxas_said
from neoc.targets.engines.cuda.occupancy import LIMITS, occupancy

needs_nvrtc = pytest.mark.needs("nvidia.cuda_nvrtc")

SOURCE = """
extern "C" __global__ void __launch_bounds__(96) tiled(const float* a, float* b, int n) {
  __shared__ alignas(16) float tile[96][5];
  int i = blockIdx.x * 96 + threadIdx.x;
  for (int k = 0; k < 5; ++k) tile[threadIdx.x][k] = a[(i + k) % n];
  __syncthreads();
  float s = 0;
  for (int k = 0; k < 5; ++k) s += tile[(threadIdx.x * 7 + k) % 96][k];
  b[i] = s;
}
extern "C" __global__ void __launch_bounds__(1024) spilling(const float* a, float* b) {
  float v[160];
  #pragma unroll
  for (int k = 0; k < 160; ++k) v[k] = a[threadIdx.x + k * 1024];
  __syncthreads();
  #pragma unroll
  for (int k = 0; k < 160; ++k) b[threadIdx.x + k * 1024] = v[159 - k] * v[k];
}
extern "C" __global__ void unbounded(float* b) { b[threadIdx.x] = 1; }
"""


@cache
def compiled(sm: int) -> compilers.Compiled:
    nvrtc = compilers._nvrtc()
    assert nvrtc is not None
    return nvrtc.compile(SOURCE, sm)


# ---- cubins ----------------------------------------------------------------------------------


@needs_nvrtc
@pytest.mark.parametrize("sm", [*sorted(LIMITS), 100, 120])
def test_the_reader_and_ptxas_say_the_same(sm: int) -> None:
    made = compiled(sm)
    cubin, said = read_cubin(made.cubin), ptxas_said(made.log)
    assert cubin.sm == sm
    assert [k.name for k in cubin.kernels] == ["spilling", "tiled", "unbounded"] == sorted(said)
    for kernel in cubin.kernels:
        assert kernel.registers == said[kernel.name].registers
        assert kernel.shared_bytes == said[kernel.name].shared_bytes
        assert kernel.code_bytes > 0
    spilling, tiled, unbounded = cubin.kernels
    assert tiled.shared_bytes == 96 * 5 * 4
    assert (tiled.block_threads, spilling.block_threads, unbounded.block_threads) == (96, 1024, 0)
    assert (tiled.parameter_bytes, spilling.parameter_bytes, unbounded.parameter_bytes) == (20, 16, 8)
    assert spilling.stack_bytes > 0
    assert said["spilling"].spill_store_bytes > 0
    assert said["tiled"].spill_store_bytes == tiled.stack_bytes == 0


@needs_nvrtc
def test_the_table_holds_spills_and_occupancy() -> None:
    sm, rows = facts_of(compiled(86).cubin, compiled(86).log)
    spilling, tiled, unbounded = rows
    assert sm == 86
    assert spilling.spill_store_bytes > 0
    assert spilling.occupancy == pytest.approx(1024 / 1536, abs=1e-4)
    assert (unbounded.occupancy, unbounded.bound_by) == (None, "")
    assert tiled.occupancy == 1.0
    assert "3 kernels" in in_short(rows)
    assert "1 with spills" in in_short(rows)


@needs_nvrtc
def test_spills_that_nobody_counted_are_not_none() -> None:
    _, rows = facts_of(compiled(86).cubin, "")
    assert [(row.spill_store_bytes, row.spill_load_bytes) for row in rows] == [(None, None)] * 3
    assert rows[0].registers > 0, "those are read from the ELF"
    assert "0 with spills (3 of which ptxas said nothing)" in in_short(rows)


@pytest.mark.needs("nvcc")
@needs_nvrtc
def test_nvcc_and_nvrtc_make_cubins_that_read_alike() -> None:
    """nvcc on PATH may be of CUDA 13, whose cubins keep the compute capability elsewhere."""
    nvcc = compilers._nvcc()
    assert nvcc is not None
    made = nvcc.compile(SOURCE, 90)
    cubin, said = read_cubin(made.cubin), ptxas_said(made.log)
    assert cubin.sm == 90
    assert {k.name: (k.registers, k.shared_bytes) for k in cubin.kernels} == {
        name: (s.registers, s.shared_bytes) for name, s in said.items()
    }


@needs_nvrtc
def test_a_shortened_cubin_is_refused_or_read_and_never_breaks() -> None:
    whole = compiled(75).cubin
    for size in [*range(0, 200, 7), *range(200, len(whole), 97)]:
        with suppress(InvalidArtifact):
            assert read_cubin(whole[:size]).sm == 75


@needs_nvrtc
@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1 << 14), st.integers(0, 255)), min_size=1, max_size=8))
def test_a_damaged_cubin_is_refused_or_read_and_never_breaks(damage: list[tuple[int, int]]) -> None:
    data = bytearray(compiled(75).cubin)
    for at, value in damage:
        data[at % len(data)] = value
    with suppress(InvalidArtifact):
        assert read_cubin(bytes(data)).sm < 256


@given(st.binary(max_size=300))
def test_other_bytes_are_no_cubin(data: bytes) -> None:
    with pytest.raises(InvalidArtifact, match="cubin"):
        read_cubin(data)


def test_an_elf_file_of_this_machine_is_no_cubin() -> None:
    with pytest.raises(InvalidArtifact, match="not for a CUDA device"):
        read_cubin(Path(sys.executable).resolve().read_bytes())


@needs_nvrtc
def test_what_the_compiler_refuses_is_told_in_its_words() -> None:
    from neoc.compile.errors import UnsupportedModel

    nvrtc = compilers._nvrtc()
    assert nvrtc is not None
    with pytest.raises(UnsupportedModel, match='identifier "frobnicate" is undefined'):
        nvrtc.compile('extern "C" __global__ void k(float* x) { *x = frobnicate(); }', 75)


@needs_nvrtc
def test_the_same_source_gives_the_same_bytes() -> None:
    nvrtc = compilers._nvrtc()
    assert nvrtc is not None
    assert nvrtc.compile(SOURCE, 75).cubin == compiled(75).cubin != compiled(86).cubin


# ---- occupancy -------------------------------------------------------------------------------

_PROBE = r"""
#include <cuda_occupancy.h>
#include <string.h>
int blocks(int sm, int threads, int registers, long shared, const long* limits) {
  cudaOccDeviceProp p; cudaOccFuncAttributes a; cudaOccDeviceState s; cudaOccResult r;
  memset(&p, 0, sizeof p); memset(&a, 0, sizeof a); memset(&s, 0, sizeof s);
  p.computeMajor = sm / 10; p.computeMinor = sm % 10;
  p.maxThreadsPerBlock = 1024; p.maxThreadsPerMultiprocessor = limits[0];
  p.regsPerBlock = limits[1]; p.regsPerMultiprocessor = limits[2]; p.warpSize = 32;
  p.sharedMemPerBlock = 49152; p.sharedMemPerMultiprocessor = limits[3]; p.numSms = 1;
  p.sharedMemPerBlockOptin = limits[3] - limits[4]; p.reservedSharedMemPerBlock = limits[4];
  a.maxThreadsPerBlock = 1024; a.numRegs = registers; a.sharedSizeBytes = shared;
  a.partitionedGCConfig = PARTITIONED_GC_OFF;
  s.carveoutConfig = SHAREDMEM_CARVEOUT_MAX_SHARED;
  if (cudaOccMaxActiveBlocksPerMultiprocessor(&r, &p, &a, &s, threads, 0)) return -1;
  return r.activeBlocksPerMultiprocessor;
}
"""


@pytest.fixture(scope="module")
def nvidias_own(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """cuda_occupancy.h of the toolkit, compiled for this machine."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    command = [compiler] if compiler else [sys.executable, "-m", "ziglang", "cc"]
    folder = tmp_path_factory.mktemp("occupancy")
    (folder / "probe.c").write_text(_PROBE)
    include = next(p / "cuda_runtime" / "include" for p in compilers._nvidia_packages())
    words = [*command, "-shared", "-fPIC", "-O1", "-w", f"-I{include}", "-o", "probe.so", "probe.c"]
    subprocess.run(words, cwd=folder, check=True, capture_output=True)
    return ctypes.CDLL(str(folder / "probe.so"))


@pytest.mark.needs("nvidia.cuda_runtime", "ziglang")
@pytest.mark.parametrize("sm", sorted(LIMITS))
def test_occupancy_is_what_the_toolkits_own_header_reckons(sm: int, nvidias_own: ctypes.CDLL) -> None:
    limits = LIMITS[sm]
    row = (ctypes.c_long * 5)(
        limits.threads, limits.block_registers, limits.registers, limits.shared_bytes, limits.reserved_shared_bytes
    )
    checked = set()
    for threads in (1, 8, 32, 33, 64, 96, 128, 160, 192, 256, 384, 512, 640, 768, 1024):
        for registers in (8, 14, 16, 24, 32, 33, 40, 56, 64, 72, 80, 96, 128, 168, 200, 255):
            for shared in (0, 4, 128, 324, 1024, 6912, 8192, 16384, 24576, 33000, 48128, 49152):
                wanted = nvidias_own.blocks(sm, threads, registers, ctypes.c_long(shared), row)
                found = occupancy(sm, threads, registers, shared)
                assert found.blocks == wanted, (sm, threads, registers, shared)
                checked.add(found.bound_by)
    assert checked == {"threads", "blocks", "registers", "shared memory"}


def test_occupancy_names_what_limits_it() -> None:
    assert occupancy(75, 1024, 32, 0).share == 1.0
    assert occupancy(75, 1024, 65, 0) == occupancy(75, 1024, 200, 0)  # more registers than a block may have
    assert occupancy(75, 1024, 65, 0).blocks == 0
    assert occupancy(80, 32, 16, 0).bound_by == "blocks"
    assert occupancy(80, 256, 128, 0).bound_by == "registers"
    assert occupancy(80, 128, 16, 40000).bound_by == "shared memory"
    assert occupancy(80, 2048, 16, 0).blocks == 0  # no block has so many threads
    with pytest.raises(KeyError):
        occupancy(37, 128, 16, 0)
