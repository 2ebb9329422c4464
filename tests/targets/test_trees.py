"""The engine of tree ensembles from a model file to an opened artifact."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pass_programs import graph
from tree_models import ALL_MODES, drawn, from_xgboost, rows_for, same_bits, to_onnx

from neoc.compile import compile_model
from neoc.compile.artifact import Artifact
from neoc.compile.contracts import EngineOptions
from neoc.compile.errors import NeocError
from neoc.compile.frontends import load
from neoc.compile.options import CompileOptions
from neoc.kernels.trees.ensemble import LEQ, evaluate
from neoc.targets import get_target, open_artifact
from neoc.targets.engines.trees import Trees
from neoc.targets.engines.trees_program import STEPS

pytestmark = pytest.mark.needs("llvmlite")

_OPTIONS = EngineOptions()


@pytest.mark.needs("xgboost")
def test_xgboost_end_to_end(tmp_path: Path) -> None:
    import xgboost

    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 9)).astype(np.float32)
    x[rng.random(x.shape) < 0.05] = np.nan
    y = np.nan_to_num(x[:, 0] * x[:, 1]) > 0
    booster = xgboost.train({"objective": "binary:logistic", "max_depth": 5, "nthread": 1}, xgboost.DMatrix(x, y), 40)
    to_onnx(from_xgboost(booster), tmp_path / "m.onnx", "binary")
    options = CompileOptions(engines=("trees",))
    compile_model(tmp_path / "m.onnx", "host", options, output=tmp_path / "m.neoc")
    rows = np.ascontiguousarray(np.tile(x, (6, 1)))
    with open_artifact(tmp_path / "m.neoc") as session:
        got = session.run({"features": rows})
        assert list(session.run({"features": rows}, ["margin"])) == ["margin"]
    assert same_bits(got["margin"], booster.inplace_predict(rows, predict_type="margin"))
    np.testing.assert_allclose(got["prediction"], booster.inplace_predict(rows), rtol=1e-6)
    assert np.ptp(got["prediction"]) > 0.5
    variant = Artifact.open(tmp_path / "m.neoc").variant(None)
    assert variant["steps"][0]["engine"] == "trees"
    assert variant["level"] == "executed"


@pytest.mark.needs("xgboost")
def test_the_manifest_says_that_margins_have_every_bit_of_the_source(tmp_path: Path) -> None:
    from neoc.bench import tree_recipes
    from neoc.cli.summary import details

    booster, _, _ = tree_recipes.xgboost(tree_recipes.XGBOOST["partitioned-categories"])
    booster.save_model(tmp_path / "m.json")
    options = CompileOptions(engines=("trees",))
    artifact = compile_model(tmp_path / "m.json", "host", options, output=tmp_path / "m.neoc")
    proof = artifact.manifest["verification"]
    outputs = {o["name"]: o for o in proof["outputs"]}
    assert proof["reference"].startswith("XGBoost")
    assert outputs["margin"]["identical"]
    assert not outputs["margin"]["vacuous"]
    assert any(line.startswith("every bit is the reference's in") and "margin" in line for line in details(artifact))


@pytest.mark.parametrize("total", ["f32-sequential", "f64"])
def test_classes_sets_and_labels(total: str, tmp_path: Path) -> None:
    ensemble = drawn(4, trees=30, height=5, full=0.9, targets=3, total=total, modes=ALL_MODES)
    to_onnx(ensemble, tmp_path / "m.onnx", "softprob")
    program = load(tmp_path / "m.onnx", {})
    target = get_target("host")
    assert Trees().gaps(program, target) == ()
    rows = rows_for(ensemble, 700, infinite=False)
    session = _built(program, tmp_path)
    got = session.run({"features": rows})
    want = evaluate(ensemble, rows)
    assert same_bits(got["margin"], want)
    assert (got["label"] == want.argmax(1)).all()
    np.testing.assert_allclose(got["prediction"].sum(1), 1, rtol=1e-5)
    got["margin"][:] = 0
    assert same_bits(session.run({"features": rows})["margin"], want)
    session.close()
    with pytest.raises(NeocError):
        session.run({"features": rows})


def test_float64_features(tmp_path: Path) -> None:
    ensemble = drawn(6, trees=30, height=6, full=0.9, compare="f64", total="f64", modes=(LEQ,))
    to_onnx(ensemble, tmp_path / "m.onnx")
    rows = rows_for(ensemble, 600)
    got = _built(load(tmp_path / "m.onnx", {}), tmp_path).run({"features": rows})["margin"]
    assert same_bits(got, evaluate(ensemble, rows)[:, 0])


def _built(program: object, folder: Path) -> object:
    engine, target = Trees(), get_target("host")
    variant = engine.variants(program, target, _OPTIONS)[0]
    out = folder / "built"
    out.mkdir()
    built = engine.build(program, target, variant, out)
    members = {n: memoryview(p.read_bytes()) for n, p in built.members.items()}
    return engine.open(members, program.signature, variant, 1, None)


@pytest.mark.parametrize("operator", ["Where", "Mul", "Concat"])
def test_what_changes_features_before_the_trees_is_done_before_them(operator: str, tmp_path: Path) -> None:
    """A clip looks like nothing to any value inside of it; a scale and further columns are no part of a tree."""
    import onnx
    from onnx import helper, numpy_helper

    ensemble = drawn(4, trees=30, height=5, full=0.9)
    to_onnx(ensemble, tmp_path / "m.onnx")
    model = onnx.load(tmp_path / "m.onnx")
    trees = next(n for n in model.graph.node if n.op_type == "TreeEnsemble")
    bound = numpy_helper.from_array(np.array(0.4, np.float32), "bound")
    front = numpy_helper.from_array(np.array([6, 5, 4], np.int64), "front")
    made = {
        "Where": [
            helper.make_node("Less", ["bound", "features"], ["above"]),
            helper.make_node("Where", ["above", "bound", "features"], ["seen"]),
        ],
        "Mul": [helper.make_node("Mul", ["features", "bound"], ["seen"])],
        "Concat": [
            helper.make_node("Gather", ["features", "front"], ["some"], axis=1),
            helper.make_node("Concat", ["some", "features"], ["wide"], axis=1),
            helper.make_node("Gather", ["wide", "first"], ["seen"], axis=1),
        ],
    }[operator]
    first = numpy_helper.from_array(np.arange(7, dtype=np.int64), "first")
    model.graph.initializer.extend([bound, front, first])
    trees.input[0] = "seen"
    for node in reversed(made):
        model.graph.node.insert(0, node)
    onnx.save(model, tmp_path / "m.onnx")
    rows = rows_for(ensemble, 600)
    seen = {
        "Where": np.where(rows > np.float32(0.4), np.float32(0.4), rows),
        "Mul": rows * np.float32(0.4),
        "Concat": np.concatenate([rows[:, [6, 5, 4]], rows], axis=1)[:, :7],
    }[operator]
    program = load(tmp_path / "m.onnx", {})
    assert Trees().gaps(program, get_target("host")) == ()
    got = _built(program, tmp_path).run({"features": rows})["margin"]
    assert same_bits(got, evaluate(ensemble, seen)[:, 0])
    assert not same_bits(got, evaluate(ensemble, rows)[:, 0])


def test_a_program_without_trees_is_one_gap() -> None:
    dense = graph("(float[2,3] x) => (float y) { a = Relu(x) b = CumSum(a, i) y = Tanh(b) }", i=np.array(1))
    (gap,) = Trees().gaps(dense, get_target("host"))
    assert "for tree models" in gap.reason


def test_gaps_name_what_is_no_pure_tree_program(tmp_path: Path) -> None:
    import onnx
    from onnx import helper

    ensemble = drawn(4)
    to_onnx(ensemble, tmp_path / "m.onnx")
    model = onnx.load(tmp_path / "m.onnx")
    next(n for n in model.graph.node if n.output[0] == "margin").output[0] = "shaped"
    model.graph.node.append(helper.make_node("CumSum", ["shaped", "zero"], ["margin"]))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(0, np.int64), "zero"))
    next(a for n in model.graph.node for a in n.attribute if a.name == "aggregate_function").i = 0
    onnx.save(model, tmp_path / "m.onnx")
    gaps = Trees().gaps(load(tmp_path / "m.onnx", {}), get_target("host"))
    assert {g.operator for g in gaps} == {"CumSum", "TreeEnsemble"}
    assert any("aggregate_function" in g.reason for g in gaps)


def test_opening_needs_no_compiler(tmp_path: Path) -> None:
    to_onnx(drawn(4), tmp_path / "m.onnx")
    compile_model(tmp_path / "m.onnx", "host", CompileOptions(engines=("trees",)), output=tmp_path / "m.neoc")
    code = """
import sys, numpy as np
from neoc.targets import open_artifact
with open_artifact(sys.argv[1]) as s:
    s.run({"features": np.zeros((3, 7), np.float32)})
heavy = [m for m in sys.modules if m.split(".")[0] in ("llvmlite", "numba", "onnx", "onnx_ir", "onnxruntime")]
print(heavy)
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "m.neoc")], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize("operator", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize(("axis", "keepdims"), [(0, 1), (1, 0), (-1, 1)])
def test_the_last_of_equals_is_found_where_it_is_asked_for(operator: str, axis: int, keepdims: int) -> None:
    x = np.random.default_rng(0).integers(0, 2, (5, 6)).astype(np.float32)
    best = x.max(axis, keepdims=True) if operator == "ArgMax" else x.min(axis, keepdims=True)
    places = np.arange(x.shape[axis]).reshape((-1, 1) if axis == 0 else (1, -1))
    for last, wanted in enumerate(
        (np.where(x == best, places, 9).min(axis), np.where(x == best, places, -1).max(axis))
    ):
        found = STEPS[operator](x, axis=axis, keepdims=keepdims, select_last_index=last)
        assert found.ndim == 1 + keepdims
        assert found.ravel().tolist() == wanted.tolist()


@pytest.mark.parametrize("kind", [np.int32, np.int64, np.uint8])
def test_whole_numbers_are_divided_towards_zero(kind: type) -> None:
    signed = np.dtype(kind).kind == "i"
    a = np.array([7, 7, 6, 0, 1] + ([-7, -7, 7, -6] if signed else []), kind)
    b = np.array([2, 3, 3, 5, 9] + ([2, -2, -2, 3] if signed else []), kind)
    quotient = STEPS["Div"](a, b)
    assert quotient.dtype == kind
    assert quotient.tolist() == [3, 2, 2, 0, 0] + ([-3, 3, -3, -2] if signed else [])
    assert STEPS["Div"](np.float32([7]), np.float32([2])).tolist() == [3.5]
