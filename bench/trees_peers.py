"""What tree models are compared with: each peer as its users call it, raw scores of rows on so many threads.

Compilers of one model (tl2cgen, lleaves) run in a process of their own, for a bounded time; what they make is kept
beside the model. `python -m neoc.bench.trees_peers tl2cgen|lleaves MODEL MADE` is that process.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

Call = Callable[[np.ndarray], Any]
"""rows -> raw scores"""


@dataclass
class Peers:
    calls: dict[str, Call] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    """name -> why"""


@dataclass(frozen=True)
class Subject:
    """A model as the peers see it."""

    library: str
    path: Path
    graph: Path
    """the ONNX file that neoc made of it"""
    seconds: float
    """that a compiler of one model gets"""
    old_llvm: Path
    """folder with the llvmlite that lleaves needs"""


def peers(subject: Subject, threads: int) -> Peers:
    """Everything that is installed and takes the model; the rest with its reason."""
    found = Peers()
    for name, make in _PEERS.items():
        try:
            call = make(subject, threads)
        except Exception as error:  # each library raises its own: a peer that cannot take part is told, not hidden
            found.left_out[name] = " ".join(str(error).split())[:160] or type(error).__name__
            continue
        if call is not None:
            found.calls[name] = call
    return found


def _xgboost(subject: Subject, threads: int) -> Call | None:
    """inplace_predict: `predict` on a DMatrix that it has seen returns what it cached."""
    if subject.library != "xgboost":
        return None
    import xgboost

    booster = xgboost.Booster()
    booster.load_model(subject.path)
    booster.set_param({"nthread": threads})
    return lambda x: booster.inplace_predict(x, predict_type="margin")


def _lightgbm(subject: Subject, threads: int) -> Call | None:
    if subject.library != "lightgbm":
        return None
    import lightgbm

    booster = lightgbm.Booster(model_file=str(subject.path))
    return lambda x: booster.predict(x, raw_score=True, num_threads=threads)


def _onnxruntime(subject: Subject, threads: int) -> Call:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(str(subject.graph), options, providers=["CPUExecutionProvider"])
    return lambda x: session.run(["margin"], {"features": x})[0]


def _forest(subject: Subject) -> Any:
    import treelite

    load = (
        treelite.frontend.load_xgboost_model if subject.library == "xgboost" else treelite.frontend.load_lightgbm_model
    )
    return load(str(subject.path))


def _treelite(subject: Subject, threads: int) -> Call:
    import treelite

    forest = _forest(subject)
    return lambda x: treelite.gtil.predict(forest, x, nthread=threads, pred_margin=True)


def _tl2cgen(subject: Subject, threads: int) -> Call:
    import tl2cgen

    made = _compiled("tl2cgen", subject, ".so", {})
    predictor = tl2cgen.Predictor(str(made), nthread=threads)
    dtype = "float32" if subject.library == "xgboost" else "float64"
    return lambda x: predictor.predict(tl2cgen.DMatrix(x, dtype=dtype), pred_margin=True)


def _lleaves(subject: Subject, threads: int) -> Call | None:
    """Compiled with the last LLVM that it works with, loaded with this one."""
    if subject.library != "lightgbm":
        return None
    import lleaves
    import llvmlite.binding

    if not (subject.old_llvm / "llvmlite").is_dir():
        raise RuntimeError(f"it needs llvmlite 0.44, which is not in {subject.old_llvm}")
    made = _compiled("lleaves", subject, ".o", {"PYTHONPATH": str(subject.old_llvm)})
    llvmlite.binding.initialize = lambda: None  # it is done by itself since 0.45, and refused
    model = lleaves.Model(str(subject.path))
    model.compile(cache=str(made), raw_score=True)
    return partial(model.predict, n_jobs=threads)


_PEERS: dict[str, Callable[[Subject, int], Call | None]] = {
    "xgboost": _xgboost,
    "lightgbm": _lightgbm,
    "lleaves": _lleaves,
    "onnxruntime": _onnxruntime,
    "tl2cgen": _tl2cgen,
    "treelite": _treelite,
}


# ---- compilers of one model ----------------------------------------------------------------------------


def _compiled(name: str, subject: Subject, suffix: str, environment: dict[str, str]) -> Path:
    """What the peer's compiler makes of the model. Raises RuntimeError where it takes too long, or fails."""
    made = subject.path.with_suffix(f".{name}{suffix}")
    slow = subject.path.with_suffix(f".{name}.slow")
    if made.exists():
        return made
    if slow.exists() and float(slow.read_text()) >= subject.seconds:
        raise RuntimeError(f"it did not compile the model in {subject.seconds:g} s")
    part = made.with_suffix(f".part{suffix}")
    command = [sys.executable, "-m", "neoc.bench.trees_peers", name, str(subject.path), str(part)]
    # A group of its own: C compilers are ended with it.
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=os.environ | environment,
        start_new_session=True,
    )
    try:
        _, errors = process.communicate(timeout=subject.seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        slow.write_text(str(subject.seconds))
        raise RuntimeError(f"it did not compile the model in {subject.seconds:g} s") from None
    if process.returncode or not part.exists():
        raise RuntimeError(f"its compiler failed: {errors.decode(errors='replace').strip()[-120:]}")
    part.rename(made)
    return made


def _compile_tl2cgen(path: Path, made: Path) -> None:
    import tl2cgen

    library = "lightgbm" if path.suffix == ".txt" else "xgboost"
    forest = _forest(Subject(library, path, path, 0, path))
    cores = os.cpu_count() or 1
    tl2cgen.export_lib(forest, toolchain="gcc", libpath=made, params={"parallel_comp": 8 * cores}, nthread=cores)


def _compile_lleaves(path: Path, made: Path) -> None:
    import lleaves

    lleaves.Model(str(path)).compile(cache=str(made), raw_score=True)


if __name__ == "__main__":
    {"tl2cgen": _compile_tl2cgen, "lleaves": _compile_lleaves}[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
