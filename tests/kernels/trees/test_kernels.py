"""The generated kernels against the plain evaluation, to the bit: every design, every x86 level of this machine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tree_designs import CASES, isas
from tree_designs import case as design
from tree_models import ALL_MODES, drawn, from_xgboost, rows_for, same_bits

from neoc.kernels.errors import KernelCompileError, KernelInputError
from neoc.kernels.trees import code
from neoc.kernels.trees.compiler import compile_ensemble
from neoc.kernels.trees.ensemble import LT, MEMBER, evaluate
from neoc.kernels.trees.isa import Isa, isa_of
from neoc.kernels.trees.layout import layout_of
from neoc.targets.host import detect

pytestmark = pytest.mark.needs("llvmlite")


ISAS = isas()


@pytest.mark.parametrize("isa", [i for _, i in ISAS], ids=[n for n, _ in ISAS])
@pytest.mark.parametrize("case", CASES)
def test_margins_have_the_bits_of_the_plain_evaluation(case: str, isa: Isa) -> None:
    ensemble = design(case)
    rows = rows_for(ensemble, 1100)
    want = evaluate(ensemble, rows)
    predictor = compile_ensemble(ensemble, isa)
    assert len(np.unique(want)) > 1
    for count in (0, 1, 2, 9, 127, 128, 129, 511, 513, 1100):
        assert same_bits(predictor(rows[:count]), want[:count]), count
    for k in range(20):
        assert same_bits(predictor(rows[k : k + 1]), want[k : k + 1]), k


@pytest.mark.parametrize("seed", range(6))
def test_random_ensembles(seed: int) -> None:
    rng = np.random.default_rng(seed)
    wide = bool(rng.integers(2))
    ensemble = drawn(
        seed,
        trees=int(rng.integers(1, 60)),
        features=int(rng.integers(1, 80)),
        height=int(rng.integers(1, 11)),
        full=float(rng.uniform(0.4, 1.0)),
        targets=int(rng.integers(1, 4)),
        compare="f64" if wide else "f32",
        total="f64" if wide else "f32-sequential",
        splits=int(rng.integers(2, 700)),
        modes=ALL_MODES if rng.integers(2) else (LT,),
    )
    rows = rows_for(ensemble, 700, seed)
    assert same_bits(compile_ensemble(ensemble, ISAS[-1][1])(rows), evaluate(ensemble, rows))


@pytest.mark.needs("xgboost")
def test_xgboost_margins_to_the_bit() -> None:
    import xgboost

    rng = np.random.default_rng(3)
    x = rng.normal(size=(3000, 12)).astype(np.float32)
    x[rng.random(x.shape) < 0.05] = np.nan
    y = (np.nan_to_num(x[:, 0]) * np.nan_to_num(x[:, 1]) > 0).astype(int)
    parameters = {"objective": "binary:logistic", "max_depth": 6, "eta": 0.1, "base_score": 0.3, "nthread": 1}
    booster = xgboost.train(parameters, xgboost.DMatrix(x, y), 60)
    ensemble = from_xgboost(booster)
    rows = rows_for(ensemble, 20_000, infinite=False)
    want = booster.inplace_predict(rows, predict_type="margin").reshape(-1, 1)
    for name, isa in ISAS:
        assert same_bits(compile_ensemble(ensemble, isa)(rows), want), name
    assert np.ptp(want) > 1


def test_neighbouring_trees_that_differ_in_leaves_alone_are_evaluated_once() -> None:
    one = drawn(5, trees=8, height=5, full=0.9)
    nodes, leaves = one.nodes, len(one.leaf_value)

    def shifted(child: np.ndarray) -> np.ndarray:
        return np.where(child >= 0, child + nodes, child - leaves).astype(np.int32)

    order = np.stack([one.roots, shifted(one.roots)], axis=1).reshape(-1)
    both = replace(
        one,
        targets=2,
        roots=order,
        feature=np.tile(one.feature, 2),
        mode=np.tile(one.mode, 2),
        split=np.tile(one.split, 2),
        missing_true=np.tile(one.missing_true, 2),
        true_child=np.concatenate([one.true_child, shifted(one.true_child)]),
        false_child=np.concatenate([one.false_child, shifted(one.false_child)]),
        leaf_target=np.concatenate([one.leaf_target, one.leaf_target + 1]),
        leaf_value=np.concatenate([one.leaf_value, one.leaf_value * 3]).astype(np.float32),
        member_start=np.zeros(0, np.int64),
    )
    assert layout_of(both, ISAS[-1][1]).facts["trees"] == 8
    rows = rows_for(both, 600)
    for _, isa in ISAS:
        assert same_bits(compile_ensemble(both, isa)(rows), evaluate(both, rows))


def test_trees_need_not_stand_in_the_order_of_their_nodes() -> None:
    """Found by the fuzzer: the lines of sets were looked up as if they did."""
    e = drawn(9, trees=12, height=5, full=0.9, modes=ALL_MODES)
    turned = replace(e, roots=e.roots[::-1].copy())
    rows = rows_for(turned, 600)
    for _, isa in ISAS:
        assert same_bits(compile_ensemble(turned, isa)(rows), evaluate(turned, rows))


def test_categories_cut_to_whole_numbers() -> None:
    ensemble = drawn(11, trees=20, height=5, full=0.9, modes=(MEMBER, LT))
    for kind in (1, 2):
        cut = replace(ensemble, cast=np.full(ensemble.features, kind, np.uint8))
        rows = rows_for(cut, 900) + np.float32(0.25)
        assert same_bits(compile_ensemble(cut, ISAS[-1][1])(rows), evaluate(cut, rows))


def test_two_threads_and_many_callers_give_the_same() -> None:
    from concurrent.futures import ThreadPoolExecutor

    ensemble = drawn(2, trees=200, height=6, full=1.0)
    rows = rows_for(ensemble, 3000)
    want = evaluate(ensemble, rows)
    predictor = compile_ensemble(ensemble, ISAS[-1][1], threads=2)
    assert same_bits(predictor(rows), want)
    with ThreadPoolExecutor(4) as pool:
        assert all(same_bits(got, want) for got in pool.map(lambda _: predictor(rows), range(12)))
    predictor.close()
    assert same_bits(predictor(rows), want)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"features": 3}, "feature"),
        ({"targets": 0}, "targets"),
        ({"roots": np.array([0, 0], np.int32)}, "reached"),
        ({"true_child": np.array([0], np.int32)}, "reached"),
        ({"true_child": np.array([99], np.int32)}, "does not exist"),
        ({"split": np.array([np.nan], np.float32)}, "NaN"),
        ({"leaf_target": np.array([0, 7], np.int32)}, "target"),
        ({"mode": np.array([9], np.uint8)}, "mode"),
    ],
)
def test_a_malformed_ensemble_reaches_no_generator(change: dict[str, object], why: str) -> None:
    stump = drawn(1, trees=1, height=1, full=1.0)
    stump = replace(stump, feature=np.array([5], np.int32))
    with pytest.raises(KernelInputError, match=why):
        compile_ensemble(replace(stump, **change), ISAS[-1][1])  # type: ignore[arg-type]


def test_a_cycle_is_found() -> None:
    e = drawn(1, trees=1, height=1, full=1.0)
    loop = replace(
        e,
        roots=np.array([~0, ~1], np.int32),
        feature=np.zeros(2, np.int32),
        mode=np.zeros(2, np.uint8),
        split=np.zeros(2, np.float32),
        missing_true=np.zeros(2, bool),
        true_child=np.array([1, 0], np.int32),
        false_child=np.array([~0, ~1], np.int32),
        member_start=np.zeros(0, np.int64),
    )
    with pytest.raises(KernelInputError, match="cycle"):
        compile_ensemble(loop, ISAS[-1][1])


def test_damaged_code_is_refused() -> None:
    with pytest.raises(KernelCompileError):
        code.load(b"neocimg1" + bytes(100))


def test_code_for_another_processor_is_refused() -> None:
    other = "aarch64" if detect().arch == "x86_64" else "x86_64"
    isa = isa_of(other, ())
    with pytest.raises(KernelCompileError, match="does not run here"):
        code.load(code.kernel_image(layout_of(drawn(1), isa).shape, isa))


def test_rows_that_do_not_fit_are_refused() -> None:
    predictor = compile_ensemble(drawn(1), ISAS[-1][1])
    for rows in (np.zeros((3, 6), np.float32), np.zeros((3, 7)), np.zeros(7, np.float32)):
        with pytest.raises(KernelInputError):
            predictor(rows)


def test_rows_that_may_not_be_written_to_are_read_where_they_lie() -> None:
    ensemble = drawn(8)
    rows = rows_for(ensemble, 40)
    want = evaluate(ensemble, rows)
    rows.flags.writeable = False
    predictor = compile_ensemble(ensemble, ISAS[-1][1])
    assert same_bits(predictor(rows), want)
    assert same_bits(predictor(rows[:1]), want[:1])
    assert same_bits(predictor(np.asfortranarray(rows)), want)
