"""Workers: whatever an engine does, it loses only itself, is named with its reason, and leaves nothing behind."""

from __future__ import annotations

import gc
import os
import signal
import stat
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx_ir as ir
import psutil
import pytest

from neoc.compile import wire
from neoc.compile.contracts import Figure, Signature, Target, TensorSpec, Variant
from neoc.compile.errors import (
    FeedError,
    MissingTool,
    NeocError,
    UnsupportedModel,
    UsageError,
    WorkerCrashed,
    WorkerFailure,
    WorkerOutOfMemory,
    WorkerRefused,
    WorkerTimeout,
    WrongDevice,
)
from neoc.compile.program import Program, Provenance
from neoc.compile.worker import KEPT_FEEDS, RemoteSession, Worker

ENGINE = "misbehaving_engine:Misbehaving"
MIB = 1 << 20
HELPERS = str(Path(__file__).parents[1] / "helpers")


def spec(name: str, dtype: str = "float32", shape: tuple[int | str | None, ...] | None = ("n",)) -> TensorSpec:
    return TensorSpec(name, dtype, shape)


SIGNATURE = Signature((spec("x"),), (spec("y"),))
TARGET = Target(
    name="test-chip",
    title="chip of the tests",
    arch="x86_64",
    features=frozenset({"avx2", "fma"}),
    peak_flops={"float32": Figure(1e9, "made up")},
    bandwidth=Figure(2e9, "made up"),
    facts=(("mcpu", "znver4"),),
)


@pytest.fixture
def member(tmp_path: Path) -> Path:
    path = tmp_path / "factor"
    path.write_text("3")
    return path


@pytest.fixture(autouse=True)
def _engine_is_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", HELPERS)


@pytest.fixture(autouse=True)
def _nothing_is_left_behind() -> Iterator[None]:
    """No process of a test outlives it, whatever the test did."""
    me = psutil.Process()
    before = set(me.children(recursive=True))
    yield
    deadline = time.monotonic() + 5
    while left := [p for p in set(me.children(recursive=True)) - before if p.status() != psutil.STATUS_ZOMBIE]:
        assert time.monotonic() < deadline, left
        time.sleep(0.02)


@pytest.fixture
def worker() -> Iterator[Worker]:
    with Worker("w", timeout_s=20) as made:
        yield made


@pytest.fixture(scope="module")
def shared() -> Iterator[Worker]:
    """One worker for all tests that leave it alive."""
    with Worker("w", timeout_s=20, env={"PYTHONPATH": HELPERS}) as made:
        assert made.memory()["uss"] < 60 * MIB, "a child starts light"
        yield made


def open_doing(worker: Worker, member: Path, do: str = "", signature: Signature = SIGNATURE) -> RemoteSession:
    return worker.open(ENGINE, {"factor": member}, signature, Variant.of("v", do=do), 1, None)


def eventually(holds: Callable[[], bool], patience_s: float = 5) -> bool:
    deadline = time.monotonic() + patience_s
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.02)
    return holds()


def gone(pid: int, patience_s: float = 5) -> bool:
    """Whether a process is gone or dead; by number, for those that are not our children."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.02)
    return False


# ---- what a worker does ----------------------------------------------------------------------------


def test_open_and_run_give_the_engine_s_values(shared: Worker, member: Path) -> None:
    session = open_doing(shared, member)
    x = np.array([1.0, -2.0, 0.5], np.float32)
    out = session.run({"x": x})
    np.testing.assert_array_equal(out["y"], [3.0, -6.0, 1.5])
    assert out["y"].flags.c_contiguous
    assert out["y"].flags.writeable
    assert (session.inputs, session.outputs) == (SIGNATURE.inputs, SIGNATURE.outputs)
    out["y"][:] = 0
    np.testing.assert_array_equal(session.run({"x": x[::-1]})["y"], [1.5, -6.0, 3.0])
    assert shared.facts["pid"] not in (os.getpid(), None)
    assert shared.facts["protocol"] == wire.PROTOCOL


@pytest.mark.parametrize(
    ("dtype", "x", "y"),
    [
        ("bfloat16", np.array([1.5, 2], ml_dtypes.bfloat16), [4.5, 6.0]),
        ("int64", np.array([[1], [-7]]), [[3], [-21]]),
        ("float16", np.zeros((0, 4), np.float16), []),
        ("string", np.array(["a", "é"], dtype=object), ["a!", "é!"]),
    ],
)
def test_every_kind_of_tensor_passes(shared: Worker, member: Path, dtype: str, x: np.ndarray, y: list[object]) -> None:
    signature = Signature((spec("x", dtype, None),), (spec("y", dtype, None),))
    out = open_doing(shared, member, signature=signature).run({"x": x})["y"]
    assert out.dtype == x.dtype
    assert out.shape == x.shape
    assert out.tolist() == y


def test_large_arrays_pass_in_both_directions(shared: Worker, member: Path) -> None:
    x = np.arange(8 << 20, dtype=np.float32)
    out = open_doing(shared, member).run({"x": x})["y"]
    assert out[-1] == x[-1] * 3
    assert out.shape == x.shape


def test_wrong_feeds_are_refused_before_anything_is_sent(shared: Worker, member: Path) -> None:
    session = open_doing(shared, member)
    good = np.ones(2, np.float32)
    for feeds in ({"x": good.astype(np.float64)}, {"x": good[None]}, {"z": good}, {}, {"x": good, "z": good}):
        with pytest.raises(FeedError):
            session.run(feeds)
        with pytest.raises(FeedError):
            session.time(feeds, 1)
    assert session.run({"x": good})["y"].tolist() == [3.0, 3.0]


def test_build_carries_program_target_and_variant_over(shared: Worker, tmp_path: Path) -> None:
    program_folder, folder = tmp_path / "program", tmp_path / "built"
    program_folder.mkdir()
    folder.mkdir()
    graph = ir.Graph([], [], nodes=[], opset_imports={"": 17}, name="empty")
    Program(ir.Model(graph, ir_version=8), Provenance("onnx", "exporter 7", "0" * 64, "m.onnx")).save(program_folder)
    built = shared.build(ENGINE, program_folder, TARGET, Variant.of("v", factor=5), folder)
    assert built.members["factor"].read_text() == "5"
    assert built.tools == {"misbehaving": "exporter 7"}
    assert built.notes == ("test-chip", "avx2", "fma")
    assert built.requirements[0].name == "x86_64"
    session = shared.open(ENGINE, built.members, SIGNATURE, Variant("v"), 1, None)
    assert session.run({"x": np.ones(1, np.float32)})["y"].tolist() == [5.0]
    other = tmp_path / "other"
    other.mkdir()
    for do in ("no member", "member outside"):
        with pytest.raises(NeocError, match="member 'factor'"):
            shared.build(ENGINE, program_folder, TARGET, Variant.of("v", do=do), other)


def test_a_target_and_all_its_figures_survive_the_trip() -> None:
    assert Target.from_dict(TARGET.as_dict()) == TARGET


def test_an_oracle_opens_the_untouched_source(shared: Worker, tmp_path: Path) -> None:
    source = tmp_path / "m.onnx"
    source.write_bytes(b"12345")
    session = shared.open_source(ENGINE, source, SIGNATURE)
    assert session.run({"x": np.ones(1, np.float32)})["y"].tolist() == [5.0]


def test_several_sessions_live_in_one_worker_and_close_one_by_one(worker: Worker, member: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("10")
    first, second = open_doing(worker, member), open_doing(worker, other)
    x = {"x": np.ones(1, np.float32)}
    assert [s.run(x)["y"].item() for s in (first, second)] == [3.0, 10.0]
    second.close()
    second.close()
    assert first.run(x)["y"].item() == 3.0
    with pytest.raises(WorkerRefused, match="closed"):
        second.run(x)
    assert eventually(lambda: worker.log.count("closed") == 1), "the log is read by a thread of its own"


def test_threads_take_turns(shared: Worker, member: Path) -> None:
    session, wrong = open_doing(shared, member), []

    def use(value: float) -> None:
        for _ in range(30):
            if session.run({"x": np.full(100, value, np.float32)})["y"].tolist() != [3 * value] * 100:
                wrong.append(value)

    threads = [threading.Thread(target=use, args=(float(i),)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# ---- time and memory -------------------------------------------------------------------------------


def test_time_is_measured_in_the_child_per_run(shared: Worker, member: Path) -> None:
    open_doing(shared, member, "run busy")
    start = time.perf_counter_ns()
    ns = shared.time({"x": np.ones(2, np.float32)}, 20)
    wall = time.perf_counter_ns() - start
    assert ns.dtype == np.int64
    assert ns.shape == (20,)
    assert ns.min() >= 2_000_000
    assert ns.sum() <= wall
    assert shared.timed({"x": np.ones(2, np.float32)})(3).shape == (3,)


def test_the_first_run_is_reported_apart_and_open_too(shared: Worker, member: Path) -> None:
    session = open_doing(shared, member, "run first is slow")
    assert 0 < session.open_seconds < 5
    assert session.first_run_seconds is None
    session.time({"x": np.ones(2, np.float32)}, 3)
    first = session.first_run_seconds
    assert first is not None
    assert first >= 0.05
    session.run({"x": np.ones(2, np.float32)})
    assert session.first_run_seconds == first


def test_feeds_are_sent_once(worker: Worker, member: Path) -> None:
    session = open_doing(worker, member)
    sent: list[str] = []
    call = worker._call

    def spy(message: wire.Message, *rest: object) -> wire.Message:
        sent.append(message.kind)
        return call(message, *rest)  # type: ignore[arg-type]

    worker._call = spy  # type: ignore[method-assign]
    feeds = {"x": np.ones(1000, np.float32)}
    for _ in range(3):
        session.time(dict(feeds), 2)
    assert sent == ["put", "time", "time", "time"]
    for _ in range(KEPT_FEEDS):
        session.time({"x": np.ones(3, np.float32)}, 1)
    session.time(feeds, 1)
    assert sent.count("put") == 2 + KEPT_FEEDS


def test_memory_of_the_child_is_told_in_bytes(shared: Worker, member: Path) -> None:
    session = open_doing(shared, member)
    before = shared.memory()
    process = psutil.Process(shared.facts["pid"])
    assert before["rss"] == pytest.approx(process.memory_info().rss, rel=0.1)
    assert before["uss"] <= before["rss"] <= before["peak"]
    session.run({"x": np.ones(16 << 20, np.float32)})
    assert shared.memory()["peak"] > before["peak"] + 64 * MIB


# ---- engines that go wrong -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("do", "words"),
    [
        ("segfault", "killed by SIGSEGV"),
        ("run segfault", "killed by SIGSEGV"),
        ("run hard exit", "exited with status 7"),
        ("kill itself", "SIGKILL, which neoc did not send: probably the kernel's out-of-memory killer"),
        ("run fork and crash", "killed by SIGABRT"),
    ],
)
def test_a_crash_is_named(worker: Worker, member: Path, do: str, words: str) -> None:
    with pytest.raises(WorkerCrashed, match=words) as caught:
        open_doing(worker, member, do).run({"x": np.ones(1, np.float32)})
    assert "worker 'w'" in str(caught.value)
    assert ("running" if do.startswith("run") else "opening") in str(caught.value)
    with pytest.raises(WorkerCrashed, match=f"is gone.*{words[:12]}"):
        open_doing(worker, member)


@pytest.mark.parametrize(
    ("do", "kind", "words"),
    [
        ("exit", WorkerRefused, "end the process with status 3"),
        ("raise", WorkerRefused, "ValueError: the tensor is too green"),
        ("raise unprintable", WorkerRefused, "Unprintable: its message cannot be shown"),
        ("raise memory", WorkerOutOfMemory, "1.00 EiB"),
        ("own error", WrongDevice, "this is not a green chip"),
    ],
)
def test_an_error_is_carried_over_and_the_worker_lives_on(
    shared: Worker, member: Path, do: str, kind: type[NeocError], words: str
) -> None:
    with pytest.raises(kind, match=words) as caught:
        open_doing(shared, member, do)
    assert type(caught.value) is kind
    assert "misbehaving_engine.py" in "".join(caught.value.__notes__)
    session = open_doing(shared, member, "run " + do)
    with pytest.raises(kind, match=words):
        session.run({"x": np.ones(1, np.float32)})
    assert open_doing(shared, member).run({"x": np.ones(1, np.float32)})["y"].tolist() == [3.0]


def test_neoc_s_own_errors_keep_all_their_parts(shared: Worker, member: Path) -> None:
    with pytest.raises(MissingTool) as missing:
        open_doing(shared, member, "missing tool")
    error = missing.value
    assert (error.what, error.where) == ("the greenifier is missing", "PATH")
    assert (error.why, error.fix, error.exit_status) == ("not installed", "apt install greenifier", 3)
    with pytest.raises(UnsupportedModel) as unsupported:
        open_doing(shared, member, "unsupported")
    (gap,) = unsupported.value.gaps
    assert (gap.node, gap.suggestion) == ("node_3", "paint it blue")


def test_an_output_that_cannot_be_sent_is_a_refusal(shared: Worker, member: Path) -> None:
    session = open_doing(shared, member, "run unsendable")
    with pytest.raises(WorkerRefused, match="object"):
        session.run({"x": np.ones(1, np.float32)})
    assert shared.memory()["rss"] > 0


def test_an_unknown_engine_is_refused(shared: Worker, member: Path) -> None:
    with pytest.raises(UsageError, match="nosuch"):
        shared.open("nosuch", {"factor": member}, SIGNATURE, Variant("v"), 1, None)
    with pytest.raises(UsageError, match="no_such_module"):
        shared.open("no_such_module:Engine", {"factor": member}, SIGNATURE, Variant("v"), 1, None)


@pytest.mark.parametrize("do", ["print", "chatter", "read"])
def test_an_engine_that_uses_the_standard_streams_cannot_break_the_protocol(
    worker: Worker, member: Path, do: str
) -> None:
    session = open_doing(worker, member, "run " + do)
    for _ in range(2):
        assert session.run({"x": np.ones(1, np.float32)})["y"].tolist() == [3.0]
    worker.close()
    expected = {"print": "from a program", "chatter": "line 199999", "read": "stdin gave ''"}
    assert expected[do] in worker.log
    assert len(worker.log) <= 1 << 16


def test_the_last_words_of_a_crash_are_told_without_python_s_own_stack(member: Path) -> None:
    with Worker("w", env={"PYTHONPATH": os.environ["PYTHONPATH"]}) as worker:
        open_doing(worker, member, "print")
        with pytest.raises(WorkerCrashed) as caught:
            open_doing(worker, member, "abort")
    message = str(caught.value)
    assert "it last wrote: from C |" in message
    assert "Current thread" not in message
    assert len(message) < 1500
    assert "Current thread" in "".join(caught.value.__notes__)


# ---- bounds ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("do", ["hang", "run hang deaf"])
def test_a_call_past_its_time_is_ended(member: Path, do: str) -> None:
    with Worker("slow one", timeout_s=1.0) as worker:
        pid = worker.facts["pid"]
        start = time.monotonic()
        with pytest.raises(WorkerTimeout, match=r"did not finish within 1 s \(worker 'slow one'\)"):
            open_doing(worker, member, do).run({"x": np.ones(1, np.float32)})
        assert time.monotonic() - start < 4
        assert gone(pid)


@pytest.mark.parametrize("do", ["allocate in a grandchild", "run allocate"])
def test_memory_past_the_bound_is_ended_with_both_figures(member: Path, do: str) -> None:
    with Worker("fat one", memory_bytes=300 * MIB, timeout_s=60) as worker:
        pid = worker.facts["pid"]
        with pytest.raises(WorkerOutOfMemory, match=r"held [\d,]+ MiB resident where 300 MiB is the bound") as caught:
            open_doing(worker, member, do).run({"x": np.ones(1, np.float32)})
        held = int(caught.value.why.split(" MiB")[0].split()[-1].replace(",", ""))
        assert 300 < held <= 1200
        assert gone(pid)


def test_the_kernel_would_take_a_worker_first(shared: Worker) -> None:
    pid = shared.facts["pid"]
    assert int(Path(f"/proc/{pid}/oom_score_adj").read_text()) > int(Path("/proc/self/oom_score_adj").read_text())


# ---- nothing is left behind ------------------------------------------------------------------------


def grandchild_of(tmp_path: Path) -> int:
    return int((tmp_path / "pid").read_text())


@pytest.mark.parametrize("do", ["grandchild", "grandchild daemon"])
def test_close_ends_what_the_engine_started(member: Path, tmp_path: Path, do: str) -> None:
    worker = Worker("w", env={"PID_FILE": str(tmp_path / "pid")})
    open_doing(worker, member, do)
    pids = [worker.facts["pid"], grandchild_of(tmp_path)]
    while do == "grandchild daemon" and os.getsid(pids[1]) == pids[0]:
        time.sleep(0.01)  # it starts up, and then leaves the session
    worker.close()
    worker.close()
    assert all(gone(pid) for pid in pids)
    with pytest.raises(WorkerCrashed, match="closed"):
        open_doing(worker, member)


@pytest.mark.parametrize("do", ["grandchild", "grandchild daemon"])
def test_a_crash_ends_what_the_engine_started(member: Path, tmp_path: Path, do: str) -> None:
    worker = Worker("w", env={"PID_FILE": str(tmp_path / "pid")})
    session = open_doing(worker, member, "run abort")
    open_doing(worker, member, do)
    time.sleep(0.5)
    with pytest.raises(WorkerCrashed):
        session.run({"x": np.ones(1, np.float32)})
    assert gone(grandchild_of(tmp_path))


def test_a_worker_that_nobody_holds_is_ended(member: Path) -> None:
    worker = Worker("w")
    session = open_doing(worker, member)
    pid = worker.facts["pid"]
    del worker, session
    gc.collect()
    assert gone(pid)


def test_closing_from_another_thread_ends_a_call_in_flight(member: Path) -> None:
    worker = Worker("w", timeout_s=60)
    pid = worker.facts["pid"]
    closer = threading.Timer(0.5, worker.close)
    closer.start()
    start = time.monotonic()
    with pytest.raises(WorkerFailure):
        open_doing(worker, member, "hang")
    closer.join()
    assert time.monotonic() - start < 5
    assert gone(pid)


def test_a_worker_started_in_a_thread_outlives_the_thread(member: Path) -> None:
    worker, sessions = Worker("w"), []
    thread = threading.Thread(target=lambda: sessions.append(open_doing(worker, member)))
    thread.start()
    thread.join()
    time.sleep(0.2)
    with worker:
        assert sessions[0].run({"x": np.ones(1, np.float32)})["y"].tolist() == [3.0]


OWNER = """
import os, sys, time
from pathlib import Path
from neoc.compile.contracts import Signature, TensorSpec, Variant
from neoc.compile.worker import Worker
worker = Worker("w", env={"PID_FILE": sys.argv[2]})
signature = Signature((TensorSpec("x", "float32", (4,)),), (TensorSpec("y", "float32", (4,)),))
def use(do):
    variant = Variant.of("v", do=do)
    worker.open("misbehaving_engine:Misbehaving", {"factor": Path(sys.argv[1])}, signature, variant, 1, None)
use("grandchild")
print(worker.facts["pid"], flush=True)
if sys.argv[3] == "leave":
    sys.exit(0)
use("hang deaf") if sys.argv[3] == "busy" else time.sleep(600)
"""


@pytest.mark.parametrize(
    ("how", "state"),
    [
        (None, "leave"),
        (signal.SIGINT, "busy"),
        (signal.SIGTERM, "idle"),
        (signal.SIGKILL, "busy"),
        (signal.SIGKILL, "idle"),
    ],
)
def test_nothing_outlives_neoc(member: Path, tmp_path: Path, how: signal.Signals | None, state: str) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(member), str(tmp_path / "pid"), state],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert owner.stdout is not None
    pids = [int(owner.stdout.readline()), grandchild_of(tmp_path)]
    if how is not None:
        time.sleep(0.3)
        assert all(psutil.pid_exists(pid) for pid in pids)
        owner.send_signal(how)
    owner.communicate(timeout=20)
    assert owner.returncode == (0 if how is None else -how)
    assert all(gone(pid) for pid in pids)


def test_what_an_engine_litters_is_swept_up(member: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Worker("w") as worker:
        open_doing(worker, member, "litter")
        (scratch,) = tmp_path.glob("neoc-worker-*")
        assert (scratch / "litter.txt").exists()
    assert not scratch.exists()
    assert not Path("litter.txt").exists()


INTERRUPTED = """
import os, pathlib, signal, sys, threading
from neoc.compile.contracts import Signature, TensorSpec, Variant
from neoc.compile.errors import WorkerCrashed
from neoc.compile.worker import Worker

signal.signal(signal.SIGINT, signal.default_int_handler)
signature = Signature((TensorSpec("x", "float32", ("n",)),), (TensorSpec("y", "float32", ("n",)),))
worker = Worker("w", timeout_s=60)
print(worker.facts["pid"])
threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
try:
    worker.open(sys.argv[1], {"factor": pathlib.Path(sys.argv[2])}, signature, Variant.of("v", do="hang"), 1, None)
except KeyboardInterrupt:
    print("interrupted")
try:
    worker.memory()
except WorkerCrashed as error:
    print(error)
"""


def test_interrupting_a_call_ends_the_worker(member: Path) -> None:
    """In a process of its own: an interrupt is for the whole process, and this one has every library loaded."""
    ran = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, ENGINE, str(member)], capture_output=True, text=True, timeout=60, check=True
    )
    pid, what, why = ran.stdout.splitlines()[:3]
    assert what == "interrupted"
    assert "interrupted" in why
    assert gone(int(pid))


# ---- other interpreters ----------------------------------------------------------------------------


def script(path: Path, text: str) -> str:
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_an_interpreter_that_does_not_exist_is_named() -> None:
    with (
        pytest.raises(MissingTool, match=r"there is no program '/no/such/python'"),
        Worker("w", "/no/such/python") as w,
    ):
        w.memory()
    with pytest.raises(MissingTool, match=r"there is no program 'no-such-emulator'"):
        Worker("w", prefix=("no-such-emulator",)).memory()


def test_an_environment_without_neoc_is_told_apart(tmp_path: Path) -> None:
    # -S leaves site-packages out: a bare Python of this very version.
    bare = script(tmp_path / "bare-python", f'#!/bin/sh\nexec {sys._base_executable} -S "$@"\n')  # type: ignore[attr-defined]
    with pytest.raises(MissingTool, match=r"lacks neoc's core \(No module named.*-m pip install neoc"):
        Worker("w", bare).memory()


def test_another_protocol_is_told_apart(tmp_path: Path) -> None:
    hello = wire.to_bytes(wire.Message("hello", {"protocol": 99, "neoc": "9.9"}))
    (tmp_path / "hello").write_bytes(hello)
    old = script(tmp_path / "old", f"#!/bin/sh\ncat {tmp_path / 'hello'}\nsleep 600\n")
    with pytest.raises(MissingTool, match=r"it has neoc 9\.9, whose workers speak protocol 99; this neoc speaks \d"):
        Worker("w", old).memory()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("echo Welcome to this device, have fun", "it answered no message"),
        ("echo cannot load libgreen >&2; exit 4", "exited with status 4; it last wrote: cannot load libgreen"),
    ],
)
def test_a_program_that_is_no_worker_is_told_apart(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(MissingTool, match=words):
        Worker("w", script(tmp_path / "odd", f"#!/bin/sh\n{text}\n")).memory()


def test_a_prefix_and_variables_reach_the_child(member: Path, tmp_path: Path) -> None:
    with Worker("w", prefix=("env", "EXTRA=7"), env={"MORE": "8"}) as worker:
        assert open_doing(worker, member).run({"x": np.ones(1, np.float32)})["y"].tolist() == [3.0]
        environment = psutil.Process(worker.facts["pid"]).environ()
    assert (environment["EXTRA"], environment["MORE"]) == ("7", "8")


def test_the_working_directory_cannot_shadow_what_a_worker_imports(
    member: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "numpy.py").write_text("raise RuntimeError('shadowed')")
    monkeypatch.setenv("PYTHONPATH", os.path.relpath(os.environ["PYTHONPATH"], tmp_path))
    monkeypatch.chdir(tmp_path)
    with Worker("w") as worker:
        assert open_doing(worker, member).run({"x": np.ones(1, np.float32)})["y"].tolist() == [3.0]


def test_a_long_run_of_calls_keeps_nothing(shared: Worker, member: Path) -> None:
    session = open_doing(shared, member)
    feeds = {"x": np.ones(1 << 16, np.float32)}
    for _ in range(5):
        session.run(feeds)
    tracemalloc.start()
    child_before = shared.memory()["rss"]
    for _ in range(200):
        session.run(feeds)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 2 * MIB
    assert shared.memory()["rss"] < child_before + 8 * MIB
