"""`make check-mutants`: faults planted in real models; does `neoc check --target inf2` name each, and nothing else?

A mutant is a model of the zoo in normal form with one fault on a live edge of it (or on an input): an operator that
cannot be lowered, a dtype that Neuron devices lack, a shape that data decides. Recall: a gap names the planted node
with the documented code. False alarm: a gap that names anything else, or any gap of an untouched model. jax is made
impossible to import, and no Neuron software is needed.

usage: check_mutants.py [--count N] [--seed N] [--models A,B]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from neoc.bench import zoo
from neoc.compile import passes
from neoc.compile.frontends import load
from neoc.compile.onnx_io import write
from neoc.compile.options import CompileOptions, InputBinding
from neoc.compile.pipeline import CheckReport, check_model

MODELS: dict[str, dict[str, tuple[int, ...]]] = {
    "silero_vad_openvino_16k": {},
    "ppocr_cls": {"x": (1, 3, 48, 192)},
    "ppocrv4_det": {"x": (1, 3, 64, 64)},
    "magika": {"bytes": (1, 2048)},
    "basic_pitch": {"serving_default_input_2:0": (1, 43844, 1)},
}
PLANT = "planted"


@dataclass(frozen=True)
class Edge:
    """A float32 tensor of known shape that some node makes and an output hangs on."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Fault:
    """What was planted: the gap must name `where` (a node, or an input) with this code."""

    kind: str
    where: str
    code: str


# ---- planting ----------------------------------------------------------------------------------------


def _splice(model: onnx.ModelProto, edge: Edge, nodes: list[onnx.NodeProto]) -> None:
    """Put `nodes`, which read the edge and end in 'planted_out', between the edge's maker and its readers."""
    at = next(i for i, n in enumerate(model.graph.node) if edge.name in n.output)
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            if name == edge.name:
                node.input[index] = f"{PLANT}_out"
    rest = list(model.graph.node)[at + 1 :]
    del model.graph.node[at + 1 :]
    model.graph.node.extend([*nodes, *rest])


def _node(operator: str, inputs: list[str], output: str, name: str, **attributes: object) -> onnx.NodeProto:
    domain = str(attributes.pop("domain", ""))
    return helper.make_node(operator, inputs, [output], name=name, domain=domain, **attributes)


def _constant(model: onnx.ModelProto, name: str, value: np.ndarray) -> str:
    model.graph.initializer.append(numpy_helper.from_array(value, name))
    return name


def unknown_operator(model: onnx.ModelProto, edge: Edge, random: Random) -> Fault:
    operator = random.choice(("Bernoulli", "RandomNormalLike", "RandomUniformLike"))
    _splice(model, edge, [_node(operator, [edge.name], f"{PLANT}_out", PLANT)])
    return Fault(f"operator {operator}", PLANT, "EVRF001")


def foreign_operator(model: onnx.ModelProto, edge: Edge, random: Random) -> Fault:
    domain, operator = random.choice((("com.microsoft", "BiasGelu"), ("com.example", "Fancy"), ("acme", "Relu")))
    _splice(model, edge, [_node(operator, [edge.name], f"{PLANT}_out", PLANT, domain=domain)])
    model.opset_import.append(helper.make_opsetid(domain, 1))
    kind = helper.make_tensor_value_info(f"{PLANT}_out", TensorProto.FLOAT, edge.shape)
    model.graph.value_info.append(kind)
    return Fault(f"operator {domain}.{operator}", PLANT, "EVRF001")


def random_attribute(model: onnx.ModelProto, edge: Edge, random: Random) -> Fault:
    """An operator with a row, and an attribute that the row does not take."""
    _splice(model, edge, [_node("LpNormalization", [edge.name], f"{PLANT}_out", PLANT, p=3)])
    return Fault("attribute p=3", PLANT, "")


def wide_float(model: onnx.ModelProto, edge: Edge, random: Random) -> Fault:
    to = random.choice((TensorProto.DOUBLE, TensorProto.FLOAT8E4M3FN, TensorProto.FLOAT8E5M2))
    nodes = [
        _node("Cast", [edge.name], f"{PLANT}_wide", PLANT, to=to),
        _node("Cast", [f"{PLANT}_wide"], f"{PLANT}_out", f"{PLANT}_back", to=TensorProto.FLOAT),
    ]
    _splice(model, edge, nodes)
    codes = {TensorProto.FLOAT8E4M3FN: "EVRF051"}
    return Fault(f"dtype {TensorProto.DataType.Name(to)}", PLANT, codes.get(to, "ESPP004"))


def wide_input(model: onnx.ModelProto, edge: Edge, random: Random) -> Fault:
    """A float64 input that is cast to what the model takes."""
    held = {t.name for t in model.graph.initializer}
    value = random.choice([v for v in model.graph.input if v.name not in held])
    old, new = value.name, f"{PLANT}_input"
    kind = value.type.tensor_type.elem_type
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            if name == old:
                node.input[index] = f"{PLANT}_out"
    value.name, value.type.tensor_type.elem_type = new, TensorProto.DOUBLE
    model.graph.node.insert(0, _node("Cast", [new], f"{PLANT}_out", PLANT, to=kind))
    return Fault("dtype of an input", new, "ESPP004")


def wide_integers(model: onnx.ModelProto, edge: Edge, random: Random) -> Fault:
    """A product of 64-bit integers."""
    flat = _constant(model, f"{PLANT}_flat", np.int64([1, -1]))
    shape = _constant(model, f"{PLANT}_shape", np.int64(edge.shape))
    nodes = [
        _node("Cast", [edge.name], f"{PLANT}_int", f"{PLANT}_to", to=TensorProto.INT64),
        _node("Reshape", [f"{PLANT}_int", flat], f"{PLANT}_row", f"{PLANT}_r"),
        _node("Transpose", [f"{PLANT}_row"], f"{PLANT}_column", f"{PLANT}_t", perm=[1, 0]),
        _node("MatMul", [f"{PLANT}_row", f"{PLANT}_column"], f"{PLANT}_product", PLANT),
        _node("Cast", [f"{PLANT}_product"], f"{PLANT}_float", f"{PLANT}_from", to=TensorProto.FLOAT),
        _node("Add", [edge.name, f"{PLANT}_float"], f"{PLANT}_sum", f"{PLANT}_add"),
        _node("Reshape", [f"{PLANT}_sum", shape], f"{PLANT}_out", f"{PLANT}_s"),
    ]
    _splice(model, edge, nodes)
    return Fault("product of int64", PLANT, "EVRF035")


def open_input(model: onnx.ModelProto, edge: Edge, random: Random) -> Fault:
    held = {t.name for t in model.graph.initializer}
    value = random.choice([v for v in model.graph.input if v.name not in held])
    dims = value.type.tensor_type.shape.dim
    random.choice(list(dims)).dim_param = "some_length"
    return Fault("open dimension of an input", value.name, "EMOD025")


def unbounded(model: onnx.ModelProto, edge: Edge, random: Random) -> Fault:
    """A result whose size data decides, summed up and added."""
    operator = random.choice(("NonZero", "Unique"))
    nodes = [
        _node(operator, [edge.name], f"{PLANT}_found", PLANT),
        _node("Cast", [f"{PLANT}_found"], f"{PLANT}_float", f"{PLANT}_cast", to=TensorProto.FLOAT),
        _node("ReduceSum", [f"{PLANT}_float"], f"{PLANT}_total", f"{PLANT}_sum", keepdims=0),
        _node("Add", [edge.name, f"{PLANT}_total"], f"{PLANT}_out", f"{PLANT}_add"),
    ]
    _splice(model, edge, nodes)
    return Fault(f"size of {operator}", PLANT, "EMOD025")


def shape_from_data(model: onnx.ModelProto, edge: Edge, random: Random) -> Fault:
    """A Tile whose repeats are computed from values."""
    repeats = _constant(model, f"{PLANT}_ones", np.ones(len(edge.shape), np.int64))
    nodes = [
        _node("ReduceMax", [edge.name], f"{PLANT}_max", f"{PLANT}_m", keepdims=0),
        _node("Cast", [f"{PLANT}_max"], f"{PLANT}_int", f"{PLANT}_cast", to=TensorProto.INT64),
        _node("Add", [f"{PLANT}_int", repeats], f"{PLANT}_repeats", f"{PLANT}_add"),
        _node("Tile", [edge.name, f"{PLANT}_repeats"], f"{PLANT}_long", PLANT),
        _node("ReduceMean", [f"{PLANT}_long"], f"{PLANT}_mean", f"{PLANT}_mean", keepdims=0),
        _node("Mul", [edge.name, f"{PLANT}_mean"], f"{PLANT}_out", f"{PLANT}_mul"),
    ]
    _splice(model, edge, nodes)
    return Fault("shape from data", PLANT, "EMOD025")


def scatter_of_integers(model: onnx.ModelProto, edge: Edge, random: Random) -> Fault:
    """From opset 16 on: before, a scatter combines nothing."""
    if next(entry.version for entry in model.opset_import if entry.domain == "") < 16:
        return unbounded(model, edge, random)
    flat = _constant(model, f"{PLANT}_flat", np.int64([-1]))
    at = _constant(model, f"{PLANT}_at", np.int64([0]))
    one = _constant(model, f"{PLANT}_one", np.int32([1]))
    shape = _constant(model, f"{PLANT}_shape", np.int64(edge.shape))
    nodes = [
        _node("Reshape", [edge.name, flat], f"{PLANT}_line", f"{PLANT}_l"),
        _node("Cast", [f"{PLANT}_line"], f"{PLANT}_int", f"{PLANT}_to", to=TensorProto.INT32),
        _node("ScatterElements", [f"{PLANT}_int", at, one], f"{PLANT}_added", PLANT, reduction="add"),
        _node("Cast", [f"{PLANT}_added"], f"{PLANT}_float", f"{PLANT}_from", to=TensorProto.FLOAT),
        _node("Reshape", [f"{PLANT}_float", shape], f"{PLANT}_out", f"{PLANT}_s"),
    ]
    _splice(model, edge, nodes)
    return Fault("scatter-add of integers", PLANT, "EVRF016")


MUTATORS: tuple[Callable[[onnx.ModelProto, Edge, Random], Fault], ...] = (
    unknown_operator, foreign_operator, random_attribute, wide_float, wide_input, wide_integers, open_input, unbounded,
    shape_from_data, scatter_of_integers,
)  # fmt: skip


# ---- models --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Base:
    name: str
    model: onnx.ModelProto
    edges: tuple[Edge, ...]


def bases(names: list[str], folder: Path) -> Iterator[Base]:
    """Each model in normal form, and the edges that a fault may be planted on."""
    for name in names:
        (entry,) = zoo.fetch([name])
        bound = {key: InputBinding(shape) for key, shape in MODELS[name].items()}
        program = passes.run(load(entry.path, bound), passes.DEFAULT)
        path = folder / f"{name}.onnx"
        write(program.model, path, data_name=f"{name}.data")
        outputs = {spec.name for spec in program.signature.outputs}
        yield Base(name, onnx.load(path), tuple(_edges(program, outputs)))


def _edges(program: object, outputs: set[str]) -> Iterator[Edge]:
    from neoc.targets.engines.neuron.calls import calls_of

    for call in calls_of(program):  # type: ignore[arg-type]
        for fact in call.outputs:
            small = fact is not None and fact.shape is not None and len(fact.shape) > 0 and fact.size < 1 << 16
            if small and fact is not None and fact.dtype == "float32" and fact.name not in outputs:
                yield Edge(fact.name, fact.shape or ())


# ---- judging ---------------------------------------------------------------------------------------------


@dataclass
class Score:
    mutants: int = 0
    found: int = 0
    missed: list[str] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)


def check(model: onnx.ModelProto, path: Path) -> tuple[CheckReport, float]:
    onnx.save(model, path)
    begin = time.perf_counter()
    (report,) = check_model(path, ["inf2"], CompileOptions())
    return report, time.perf_counter() - begin


def judge(score: Score, name: str, fault: Fault | None, report: CheckReport) -> None:
    gaps = [gap for view in report.views for gap in view.gaps]
    found = fault is not None and any(gap.node == fault.where and gap.code == fault.code for gap in gaps)
    for gap in gaps:
        if fault is None or not gap.node.startswith((PLANT, fault.where)):
            score.alarms.append(f"{name}: {gap.node} {gap.operator}: {gap.reason} [{gap.code}]")
    if fault is not None:
        score.mutants += 1
        score.found += found
        score.kinds[fault.kind] += 1
        if not found:
            score.missed.append(f"{name}, {fault}: {[(g.node, g.code, g.reason) for g in gaps][:3]}")


def run(count: int, seed: int, names: list[str]) -> Score:
    sys.modules["jax"] = sys.modules["jaxlib"] = None  # type: ignore[assignment]
    random, score = Random(seed), Score()
    with tempfile.TemporaryDirectory(prefix="neoc-mutants-") as scratch:
        folder = Path(scratch)
        models = list(bases(names, folder))
        for base in models:
            report, seconds = check(base.model, folder / "mutant.onnx")
            judge(score, base.name, None, report)
            score.seconds.append(seconds)
        for number in range(count):
            base = models[number % len(models)]
            mutator = MUTATORS[(number // len(models)) % len(MUTATORS)]
            mutant = onnx.ModelProto()
            mutant.CopyFrom(base.model)
            fault = mutator(mutant, random.choice(base.edges), random)
            report, seconds = check(mutant, folder / "mutant.onnx")
            judge(score, f"{base.name} #{number}", fault, report)
            score.seconds.append(seconds)
    return score


def main() -> int:
    parser = argparse.ArgumentParser(description="planted faults and `neoc check --target inf2`")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--models", default=",".join(MODELS))
    arguments = parser.parse_args()
    score = run(arguments.count, arguments.seed, arguments.models.split(","))
    share = 100 * score.found / max(score.mutants, 1)
    print(f"{score.mutants} mutants of {len(arguments.models.split(','))} models, {len(score.kinds)} kinds of faults")
    print(f"recall {share:.1f} %, false alarms {len(score.alarms)}")
    print(f"seconds a check: median {statistics.median(score.seconds):.2f}, largest {max(score.seconds):.2f}")
    for line in [*score.missed, *score.alarms][:40]:
        print(line)
    return 1 if score.missed or score.alarms else 0


if __name__ == "__main__":
    sys.exit(main())
