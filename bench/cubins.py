"""`make cubins`: real models compiled for NVIDIA chips on a machine without one, and what their kernels take.

A row is one `compile_model`: the level that it reached, the largest relative error of the simulated kernels, the
compute capability that the cubin's own ELF header names, its kernels, the most registers and shared memory of one of
them, kernels with spills, the range of theoretical occupancy. Nothing was run on a chip, and nothing says how fast one
would be.

usage: python -m neoc.bench.cubins [--target NAME]... [--json FILE] [MODEL...]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from neoc.bench import torch_models, zoo
from neoc.compile import Artifact, compile_model
from neoc.compile.errors import NeocError
from neoc.compile.options import CompileOptions, InputBinding
from neoc.targets import get_target
from neoc.targets.engines.cuda.cubin import read_cubin

TARGETS = ("t4", "a10", "l4", "h100", "jetson-orin")
ENGINES = ("cuda", "cuda-trees")
TREES = 200


@dataclass(frozen=True)
class Subject:
    name: str
    prepare: Callable[[Path], Path]
    shapes: dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Row:
    model: str
    target: str
    level: str
    sm: int
    """as the ELF header of the cubin has it; 0 where there is none"""
    kernels: int
    registers: int
    """of the kernel with the most, per thread"""
    shared_bytes: int
    """of the kernel with the most, per block"""
    spilling: int
    lowest_occupancy: float | None
    highest_occupancy: float | None
    cubin_bytes: int
    relative: float | None
    """the largest relative error of any output; None where nothing could be run"""
    why: str = ""


def subjects() -> Iterator[Subject]:
    yield Subject("small_cnn", small_cnn, {})
    for name in ("pnet", "rnet", "onet"):
        make = getattr(torch_models, name)
        yield Subject(f"mtcnn_{name}", lambda folder, make=make: make(folder)[0], {})  # type: ignore[misc]
    yield Subject("silero_vad_openvino_16k", lambda _: zoo.fetch(["silero_vad_openvino_16k"])[0].path, {})
    yield Subject("magika", lambda _: zoo.fetch(["magika"])[0].path, {"bytes": (1, 2048)})
    yield Subject(f"xgboost_{TREES}", xgboost, {})


def small_cnn(folder: Path) -> Path:
    """Two convolutions, two poolings, a dense layer: the smallest model with every kind of kernel."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(0)
    sizes = {"w1": (16, 3, 3, 3), "w2": (32, 16, 3, 3), "w3": (32, 10)}
    weights = {k: random.standard_normal(s, np.float32) / np.sqrt(np.prod(s[1:])) for k, s in sizes.items()}
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MaxPool", ["b"], ["c"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["c", "w2"], ["d"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["d"], ["e"]),
        helper.make_node("GlobalAveragePool", ["e"], ["f"]),
        helper.make_node("Flatten", ["f"], ["g"]),
        helper.make_node("MatMul", ["g", "w3"], ["h"]),
        helper.make_node("Softmax", ["h"], ["y"], axis=-1),
    ]
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 32, 32])
    answer = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 10])
    given = [numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items()]
    graph = helper.make_graph(nodes, "small_cnn", [image], [answer], given)
    path = folder / "small_cnn.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


def xgboost(folder: Path) -> Path:
    from neoc.bench.tree_models import trained

    path = folder / "xgboost.json"
    trained(trees=TREES)[0].save_model(path)
    return path


def compiled(subject: Subject, target: str, folder: Path) -> Artifact:
    """The artifact, with the cache off. Raises NeocError."""
    bound = {name: InputBinding(shape) for name, shape in subject.shapes.items()}
    options = CompileOptions(inputs=bound, engines=ENGINES, use_cache=False)
    return compile_model(subject.prepare(folder), get_target(target), options, output=folder / f"{target}.neoc")


def measure(subject: Subject, target: str, folder: Path) -> Row:
    try:
        artifact = compiled(subject, target, folder)
    except NeocError as error:
        return Row(subject.name, target, "failed", 0, 0, 0, 0, 0, None, None, 0, None, str(error))
    (step,) = artifact.manifest["variants"][0]["steps"]
    (path,) = (path for name, path in step["members"].items() if name == "kernels.cubin")
    code = bytes(artifact.read([path])[path])
    cubin, table = read_cubin(code), step["device_code"]["kernels"]
    shares = [k["occupancy"] for k in table if k["occupancy"] is not None]
    return Row(
        model=subject.name,
        target=target,
        level=artifact.level,
        sm=cubin.sm,
        kernels=len(cubin.kernels),
        registers=max(k.registers for k in cubin.kernels),
        shared_bytes=max(k.shared_bytes for k in cubin.kernels),
        spilling=sum(1 for k in table if k["spill_store_bytes"]),
        lowest_occupancy=min(shares, default=None),
        highest_occupancy=max(shares, default=None),
        cubin_bytes=len(code),
        relative=max((o["relative"] for o in artifact.manifest["verification"]["outputs"]), default=None),
    )


def told(row: Row) -> str:
    """The row as the table has it."""
    if row.level == "failed":
        return f"| {row.model} | {row.target} | failed | | | | | | | | |"
    low, high = row.lowest_occupancy, row.highest_occupancy
    share = "-" if low is None or high is None else f"{low:.0%} to {high:.0%}"
    facts = f"sm_{row.sm} | {row.kernels} | {row.registers} | {row.shared_bytes} | {row.spilling} | {share}"
    error = "-" if row.relative is None else f"{row.relative:.1e}"
    return f"| {row.model} | {row.target} | {row.level} | {error} | {facts} | {row.cubin_bytes / 1e3:.0f} kB |"


HEAD = (
    "| model | target | level | error | ELF | kernels | registers | shared bytes | spilling | occupancy | cubin |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|"
)


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="real models compiled for NVIDIA chips")
    parser.add_argument("models", nargs="*", help="only these")
    parser.add_argument("--target", action="append", help=f"repeatable; {', '.join(TARGETS)} unless given")
    parser.add_argument("--json", type=Path, help="the rows as JSON")
    arguments = parser.parse_args(words)
    known = {subject.name: subject for subject in subjects()}
    if unknown := [name for name in arguments.models if name not in known]:
        parser.error(f"no such model: {', '.join(unknown)}; there are {', '.join(known)}")
    rows = []
    print(HEAD, flush=True)
    for name in arguments.models or known:
        for target in arguments.target or TARGETS:
            with tempfile.TemporaryDirectory(prefix="neoc-cubins-") as scratch:
                rows.append(measure(known[name], target, Path(scratch)))
            print(told(rows[-1]), flush=True)
            if rows[-1].why:
                print(rows[-1].why[:2000], file=sys.stderr)
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    return 0 if all(row.level != "failed" for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
