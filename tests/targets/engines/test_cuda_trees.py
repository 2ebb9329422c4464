"""Tree kernels for GPUs: the text, the tables, the cubin; on a GPU the margins, to the bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tree_models import drawn

from neoc.bench import cubins
from neoc.compile.contracts import Level
from neoc.kernels.trees.ensemble import EQ, GT, GTE, LEQ, LT, MEMBER, NEQ, evaluate
from neoc.targets import get_target
from neoc.targets.devices import cuda_devices
from neoc.targets.engines.cuda.cubin import read_cubin
from neoc.targets.engines.cuda.tree_source import KERNEL, source_of, tables_of

needs_nvrtc = pytest.mark.needs("nvidia.cuda_nvrtc")
SHAPES = {
    "f32": drawn(1),
    "f64_two_targets": drawn(2, targets=2, compare="f64", total="f64"),
    "all_tests": drawn(3, modes=(LEQ, LT, GTE, GT, EQ, NEQ, MEMBER)),
    "f32_rows_f64_sums": drawn(4, total="f64", modes=(LEQ,)),
}


def golden_text() -> str:
    return "\n// ----\n".join(source_of(e) for e in SHAPES.values())


def test_the_generated_text(golden: object) -> None:
    golden("cuda_trees.cu", golden_text())  # type: ignore[operator]


def test_the_text_hangs_on_the_shape_and_the_tables_on_the_trees() -> None:
    one, other = drawn(1), drawn(5)
    assert source_of(one) == source_of(other)
    assert source_of(one) != source_of(drawn(1, features=8))
    assert source_of(one) != source_of(drawn(1, trees=21))
    assert tables_of(one).arrays["nodes"].tobytes() != tables_of(other).arrays["nodes"].tobytes()
    assert (tables_of(one).arrays["nodes"].itemsize, tables_of(SHAPES["f64_two_targets"]).arrays["nodes"].itemsize) == (
        16,
        24,
    )


@pytest.mark.parametrize("name", SHAPES)
def test_a_walk_over_the_tables_is_the_ensemble(name: str) -> None:
    """The kernel's own steps in Python, over the packed tables: the layout loses nothing."""
    e = SHAPES[name]
    rows = np.random.default_rng(0).normal(size=(16, e.features)).astype(e.row_dtype)
    rows[::3, ::2] = np.nan
    rows[1] = np.float32(3)
    a = tables_of(e).arrays
    found = np.zeros((len(rows), e.targets), e.sum_dtype)
    for r, row in enumerate(rows):
        for root in a["roots"]:
            at = int(root)
            while at >= 0:
                node = a["nodes"][at]
                x, kind = row[int(node["test"]) & 0xFFFFF], int(node["test"]) >> 20 & 7
                tests = [x <= node["split"], x < node["split"], x >= node["split"], x > node["split"]]
                tests += [x == node["split"], x != node["split"]]
                if kind == MEMBER:
                    yes = x in a["members"][a["member_start"][at] : a["member_start"][at + 1]]
                else:
                    yes = tests[kind]
                if np.isnan(x):
                    yes = bool(int(node["test"]) >> 23 & 1)
                at = int(node["yes"] if yes else node["no"])
            found[r, a["leaf_target"][~at] if e.targets > 1 else 0] += a["leaf_value"][~at]
    np.testing.assert_array_equal(found, evaluate(e, rows))


@needs_nvrtc
@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("sm", [53, 75, 90])
def test_every_shape_compiles_without_spills(name: str, sm: int) -> None:
    from neoc.targets.engines.cuda import compilers, kernels

    compiler = compilers.find_compiler(sm)
    assert compiler is not None
    made = compiler.compile(source_of(SHAPES[name]), sm)
    found, (row,) = kernels.facts_of(made.cubin, made.log)
    assert (found, row.name, row.spill_store_bytes) == (sm, KERNEL, 0)


@needs_nvrtc
@pytest.mark.needs("xgboost")
def test_two_hundred_trees_of_xgboost_are_compiled(tmp_path: Path) -> None:
    (subject,) = (s for s in cubins.subjects() if s.name == "xgboost_200")
    artifact = cubins.compiled(subject, "l4", tmp_path)
    assert artifact.level in (Level.COMPILED, Level.SIMULATED, Level.EXECUTED)
    assert artifact.manifest["placement"]["nodes"].keys() == {"cuda-trees"}
    (path,) = (p for p in artifact.members() if p.endswith("kernels.cubin"))
    cubin = read_cubin(artifact.read([path])[path])
    assert (cubin.sm, [k.name for k in cubin.kernels]) == (89, [KERNEL])


@needs_nvrtc
@pytest.mark.needs("cuda", "xgboost")
def test_on_a_gpu_margins_have_the_bits_of_xgboost(tmp_path: Path) -> None:
    import xgboost

    from neoc.bench.tree_models import trained
    from neoc.targets import open_artifact

    known = {get_target(n).level: n for n in ("t4", "v100", "a10", "a100", "l4", "h100")}
    here = [known[d.removeprefix("cuda:")] for d in cuda_devices() if d.removeprefix("cuda:") in known]
    if not here:
        pytest.skip("no target for the GPU of this machine")
    (subject,) = (s for s in cubins.subjects() if s.name == "xgboost_200")
    artifact = cubins.compiled(subject, here[0], tmp_path)
    assert artifact.level is Level.EXECUTED
    booster, rows = trained(trees=cubins.TREES)
    with open_artifact(artifact.path) as session:
        found = session.run({"features": rows[:256]})["prediction"]
        np.testing.assert_array_equal(found, booster.predict(xgboost.DMatrix(rows[:256])))
