"""Generated CUDA run thread by thread: what it computes is right, and what it must not let pass it does not."""

from __future__ import annotations

import ctypes
import functools
import json
import subprocess
import sys
import traceback
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import onnx
import pytest
from small_models import cnn, model_of, reference, tensor
from tree_models import drawn

from neoc.compile import Artifact, CompileOptions, compile_model
from neoc.compile.contracts import Level
from neoc.compile.errors import WorkerCrashed
from neoc.kernels.trees.ensemble import EQ, GT, GTE, LEQ, LT, MEMBER, NEQ, evaluate
from neoc.targets import get_target, open_artifact
from neoc.targets.devices import cuda_devices
from neoc.targets.engines.cuda import simulator
from neoc.targets.engines.cuda.driver import Gpu
from neoc.targets.engines.cuda.tree_source import BLOCK, KERNEL, source_of, tables_of

T = TypeVar("T", bound=Callable[..., None])
_ORIGINALS: dict[str, Callable[..., None]] = {}


class _Child:
    """A process that imports this file and runs tests of it by name."""

    def __init__(self) -> None:
        code = f"import sys; sys.path[:0] = {[str(Path(__file__).parent), *sys.path]!r}\n"
        code += "import test_cuda_simulator; test_cuda_simulator.serve()"
        words = [sys.executable, "-c", code]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, name: str, arguments: dict[str, Any]) -> str:
        """'' where the test passed, else what it said. A process that died says so."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps([name, arguments]) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        return str(json.loads(line)) if line else f"the process ended with status {self.process.wait()}"


@pytest.fixture(scope="module", autouse=True)
def child() -> Iterator[list[_Child]]:
    """At most one, made when it is first needed."""
    yield _CHILDREN
    for one in _CHILDREN:
        one.process.kill()
        one.process.wait()
    _CHILDREN.clear()


_CHILDREN: list[_Child] = []


def in_child(test: T) -> T:
    """Run the test in a process of its own: the simulator's libcuda is everybody's in the process that loads it."""
    _ORIGINALS[test.__name__] = test

    @functools.wraps(test)
    def wrapper(**arguments: Any) -> None:
        if not _CHILDREN:
            _CHILDREN.append(_Child())
        plain = {k: str(v.path) if isinstance(v, Artifact) else v for k, v in arguments.items()}
        said = _CHILDREN[-1].run(test.__name__, plain)
        if said:
            _CHILDREN.pop().process.kill()
            pytest.fail(said, pytrace=False)

    return wrapper  # type: ignore[return-value]


def serve() -> None:
    """The child's side."""
    replies, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        name, arguments = json.loads(line)
        if "simulated" in arguments:
            arguments["simulated"] = Artifact.open(arguments["simulated"])
        try:
            _ORIGINALS[name](**arguments)
            said = ""
        except BaseException:
            said = traceback.format_exc()
        replies.write(json.dumps(said) + "\n")
        replies.flush()


needs_x86 = pytest.mark.needs("sse2", "ziglang")
needs_tools = pytest.mark.needs("avx2", "fma", "tvm", "ziglang", "nvidia.cuda_nvrtc")
no_gpu = pytest.mark.skipif(bool(cuda_devices()), reason="this machine has a GPU: it is executed there")


def launched(
    source: str, name: str, grid: int, block: int, *arguments: np.ndarray, backwards: bool = False
) -> list[np.ndarray]:
    """The arrays after one launch of a kernel that takes pointers to them. Raises WorkerCrashed."""
    library = simulator.driver()
    gpu = Gpu(library)
    module = gpu.module(simulator.image_of(source))
    function = gpu.function(module, name)
    library.neoc_order(int(backwards))
    pointers = [gpu.upload(array) for array in arguments]
    try:
        gpu.launch(function, grid, block, pointers)
    finally:
        library.neoc_order(0)
    made = [np.empty_like(array) for array in arguments]
    for pointer, array in zip(pointers, made, strict=True):
        gpu.download(pointer, array)
        gpu.free(pointer)
    return made


def kernel(body: str, parameters: str = "const float* a, float* b", before: str = "") -> str:
    return f'{before}\nextern "C" __global__ void __launch_bounds__(96) k({parameters}) {{\n{body}\n}}\n'


A = np.arange(1, 193, dtype=np.float32)


# ---- what CUDA says --------------------------------------------------------------------------


@needs_x86
@pytest.mark.parametrize("backwards", [False, True])
@in_child
def test_indices_shared_memory_and_barriers(backwards: bool) -> None:
    """Each block of 96 turns its stretch round, through shared memory."""
    body = """
      __shared__ alignas(16) float tile[96];
      int i = blockIdx.x * blockDim.x + threadIdx.x;
      tile[threadIdx.x] = a[i];
      __syncthreads();
      b[i] = tile[95 - threadIdx.x] + gridDim.x;"""
    _, b = launched(kernel(body), "k", 2, 96, A, np.zeros_like(A), backwards=backwards)
    np.testing.assert_array_equal(b, A.reshape(2, 96)[:, ::-1].ravel() + 2)


@needs_x86
@pytest.mark.parametrize("backwards", [False, True])
@in_child
def test_warps_exchange_values(backwards: bool) -> None:
    body = """
      int i = threadIdx.x;
      float v = a[i];
      b[i] = __shfl_down_sync(0xffffffff, v, 3, 32);
      b[i + 96] = __shfl_xor_sync(__activemask(), v, 5, 16);
      c[i] = __shfl_up_sync(0xffffffff, v, 2, 8);
      c[i + 96] = __shfl_sync(0xffffffff, v, 7, 32) + (__ballot_sync(0xffffffff, v > 10) & 0x3ff);"""
    _, b, c = launched(
        kernel(body, "const float* a, float* b, float* c"),
        "k",
        1,
        96,
        A,
        np.zeros_like(A),
        np.zeros_like(A),
        backwards=backwards,
    )
    lane, warp = np.arange(96) % 32, np.arange(96) // 32 * 32
    v = A[:96]
    np.testing.assert_array_equal(b[:96], v[warp + np.where(lane + 3 < 32, lane + 3, lane)])
    np.testing.assert_array_equal(b[96:], v[warp + (lane ^ 5)])
    np.testing.assert_array_equal(c[:96], v[warp + np.where(lane % 8 >= 2, lane - 2, lane)])
    votes = np.array([sum(1 << i for i in range(32) if v[w + i] > 10) & 0x3FF for w in (0, 32, 64)])
    np.testing.assert_array_equal(c[96:], v[warp + 7] + votes[warp // 32].astype(np.float32))


@needs_x86
@in_child
def test_threads_may_end_early() -> None:
    body = """
      if (threadIdx.x >= 40) return;
      __syncthreads();
      b[threadIdx.x] = a[threadIdx.x];"""
    _, b = launched(kernel(body), "k", 1, 96, A, np.zeros_like(A))
    np.testing.assert_array_equal(b, np.where(np.arange(192) < 40, A, 0))


# ---- what it does not let pass ---------------------------------------------------------------


@needs_x86
@in_child
def test_a_missing_barrier_changes_the_result_with_the_order() -> None:
    body = """
      __shared__ float tile[96];
      tile[threadIdx.x] = a[threadIdx.x];
      %s
      b[threadIdx.x] = tile[(threadIdx.x + 1) %% 96];
      __syncthreads();"""
    answers = {}
    for barrier in ("__syncthreads();", ""):
        runs = [
            launched(kernel(body % barrier), "k", 1, 96, A, np.zeros_like(A), backwards=b)[1] for b in (False, True)
        ]
        answers[barrier] = runs[0].tobytes() == runs[1].tobytes()
    assert answers == {"__syncthreads();": True, "": False}


@needs_x86
@in_child
def test_shared_memory_is_not_zero_when_a_block_begins() -> None:
    body = """
      __shared__ float tile[96];
      if (threadIdx.x < 90) tile[threadIdx.x] = 1;
      __syncthreads();
      b[threadIdx.x] = tile[threadIdx.x];"""
    _, b = launched(kernel(body), "k", 1, 96, A, np.zeros_like(A))
    assert (b[:90] == 1).all()
    assert np.isnan(b[90:96]).all()


@needs_x86
@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("if (threadIdx.x < 50) { __syncthreads(); } else { b[0] = a[0];\n __syncthreads(); }", "different barriers"),
        ("if (threadIdx.x < 50) { __syncthreads(); } else { __syncwarp(); }", "wait at a barrier|different barriers"),
    ],
)
@in_child
def test_barriers_that_threads_do_not_share_are_errors(body: str, words: str) -> None:
    library = simulator.driver()
    with pytest.raises(WorkerCrashed, match=words):
        launched(kernel(body), "k", 1, 96, A, np.zeros_like(A))
    assert library.neoc_said()


@needs_x86
def test_a_write_behind_an_array_ends_the_process() -> None:
    code = f"""
import sys
sys.path[:0] = {sys.path!r}
import numpy as np
import test_cuda_simulator as t
from neoc.targets.engines.cuda.simulator import image_of
a = np.zeros(1024, np.float32)
source = t.kernel("b[threadIdx.x + SIZE] = a[0];").replace("SIZE", sys.argv[1])
t.launched(source, "k", 1, 96, a, a)
print("lived")
"""
    here = Path(__file__).parent
    for offset, lives in ((0, True), (1024, False)):
        done = subprocess.run(
            [sys.executable, "-c", code, str(offset)], cwd=here, capture_output=True, text=True, check=False
        )
        assert ("lived" in done.stdout) is lives, done.stderr[-2000:]
        assert (done.returncode == 0) is lives


def test_sources_are_translated_without_touching_the_kernels() -> None:
    source = "#include <cuda.h>\n" + kernel(
        "__shared__ alignas(64) float t[4];\n b[0] = t[0];", "float* __restrict__ a, float* b, long long n"
    )
    text = simulator.translated(source)
    assert "cuda.h" not in text
    assert "alignas(64) __shared__ float t[4];" in text
    assert "k(*(float*  *)a[0], *(float*)a[1]" not in text
    assert "*(long long*)a[2]" in text
    assert "int neoc_barriers_k = 0;" in text
    assert "int neoc_barriers_k = 1;" in simulator.translated(kernel("__syncthreads();"))


# ---- trees -----------------------------------------------------------------------------------

ENSEMBLES = {
    "f32": drawn(1),
    "f64_two_targets": drawn(2, targets=2, compare="f64", total="f64"),
    "all_tests": drawn(3, modes=(LEQ, LT, GTE, GT, EQ, NEQ, MEMBER)),
    "f64_sums": drawn(4, total="f64", modes=(LEQ,)),
}


@needs_x86
@pytest.mark.parametrize("name", ENSEMBLES)
@in_child
def test_tree_kernels_have_the_bits_of_the_ensemble(name: str) -> None:
    e = ENSEMBLES[name]
    rows = np.random.default_rng(0).normal(size=(300, e.features)).astype(e.row_dtype)
    rows[::3, ::2] = np.nan
    rows[1::7] = np.random.default_rng(1).integers(0, 12, rows[1::7].shape)
    gpu = Gpu(simulator.driver())
    function = gpu.function(gpu.module(simulator.image_of(source_of(e))), KERNEL)
    found = np.empty((len(rows), e.targets), e.sum_dtype)
    given, result = gpu.upload(rows), gpu.allocate(found.nbytes)
    tables = [gpu.upload(a) for a in tables_of(e).arrays.values()]
    count: Any = ctypes.c_longlong(len(rows))
    gpu.launch(function, -(-len(rows) // BLOCK), BLOCK, [given, *tables, result, count])
    gpu.download(result, found)
    np.testing.assert_array_equal(found, evaluate(e, rows))


# ---- whole artifacts -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    folder = tmp_path_factory.mktemp("simulated")
    onnx.save(cnn(2), folder / "cnn.onnx")
    options = CompileOptions(use_cache=False, engines=("cuda",))
    return compile_model(folder / "cnn.onnx", get_target("l4"), options, output=folder / "m.neoc")


@needs_tools
@no_gpu
def test_a_network_is_simulated_and_compared_with_its_source(simulated: Artifact) -> None:
    assert simulated.level is Level.SIMULATED
    proof = simulated.manifest["verification"]
    assert "run thread by thread on this machine's processor instead" in proof["why"]
    assert all(o["ok"] and not o["vacuous"] and o["relative"] < 1e-5 for o in proof["outputs"])
    assert simulated.evidence["race"] is None


@needs_tools
@no_gpu
@in_child
def test_an_artifact_opens_on_the_simulator_when_asked_to(simulated: Artifact) -> None:
    answers = []
    with open_artifact(simulated.path, options={"executor": "threads-on-cpu"}) as session:
        assert session.stamp.startswith("simulated: ")
        for seed in (0, 1):
            x = np.random.default_rng(seed).standard_normal((2, 3, 16, 16), np.float32)
            found = session.run({"x": x}, ["y"])
            np.testing.assert_allclose(found["y"], reference(cnn(2), {"x": x})[0], rtol=1e-4, atol=1e-5)
            answers.append(found["y"])
    assert np.abs(answers[0] - answers[1]).max() > 0.01


@needs_tools
@no_gpu
@in_child
def test_kernels_with_a_barrier_taken_out_are_found_out(simulated: Artifact) -> None:
    """The first barrier of the convolution's kernel: the order of threads then shows, or NaN does."""
    from neoc.targets.engines.cuda.session import CudaSession, load, runtime

    with zipfile.ZipFile(simulated.path) as archive:
        source, library = archive.read("native/cuda/kernels.cu").decode(), archive.read("native/cuda/lib.so")
    simulator.driver()
    runtime()
    start = source.index("fused_conv2d_add_relu_kernel(", source.index(") {"))
    start = next(i for i in (source.find("__syncthreads();", start),) if i > 0)
    x = np.random.default_rng(0).standard_normal((2, 3, 16, 16), np.float32)
    whole = simulator.SimulatedSession(
        CudaSession(load(memoryview(library), lambda _: simulator.image_of(source)), simulated.signature)
    ).run({"x": x})
    broken = source[:start] + source[start + len("__syncthreads();") :]
    session = CudaSession(load(memoryview(library), lambda _: simulator.image_of(broken)), simulated.signature)
    found: dict[str, np.ndarray] = {}
    with suppress(WorkerCrashed):
        found = simulator.SimulatedSession(session).run({"x": x})
    assert not found or any(not np.array_equal(found[n], whole[n]) for n in whole)


@needs_tools
@no_gpu
def test_a_host_of_another_architecture_is_not_simulated() -> None:
    from neoc.targets.engines.cuda import Cuda
    from neoc.targets.engines.cuda.trees import CudaTrees

    orin = get_target("jetson-orin")
    numerics, why = Cuda().rehearsal(orin)
    assert numerics.value == "unchecked"
    assert "host code is for aarch64" in why
    assert CudaTrees().rehearsal(orin)[0].value == "simulated"  # its host side is neoc itself


@needs_tools
@no_gpu
def test_reductions_over_warps_are_right(tmp_path: Path) -> None:
    make = onnx.helper.make_node
    nodes = [
        make("Softmax", ["x"], ["s"], axis=1),
        make("LayerNormalization", ["x", "w", "c"], ["n"], axis=-1),
        make("ReduceMean", ["x"], ["m"], axes=[1], keepdims=1),
    ]
    weights = {"w": np.linspace(1, 2, 77, dtype=np.float32), "c": np.ones(77, np.float32)}
    outputs = [tensor("s", [5, 77]), tensor("n", [5, 77]), tensor("m", [5, 1])]
    onnx.save(model_of(nodes, [tensor("x", [5, 77])], outputs, **weights), tmp_path / "m.onnx")
    options = CompileOptions(use_cache=False, engines=("cuda",))
    artifact = compile_model(tmp_path / "m.onnx", get_target("t4"), options, output=tmp_path / "m.neoc")
    assert artifact.level is Level.SIMULATED
    assert all(o["relative"] < 1e-5 for o in artifact.manifest["verification"]["outputs"])
    (path,) = (p for p in artifact.members() if p.endswith("kernels.cu"))
    assert "__shfl_down_sync" in bytes(artifact.read([path])[path]).decode()
