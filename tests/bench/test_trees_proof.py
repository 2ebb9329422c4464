"""A sample of the proof of tree models (`make prove-trees`), and that it sees what is wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neoc.bench import tree_recipes as recipes
from neoc.bench import trees_proof as proof
from neoc.compile.contracts import Session

pytestmark = pytest.mark.needs("llvmlite")
SAMPLE = ("exact, 100 columns", "dart-multi", "vector-leaf", "partitioned-categories", "denormal columns")
ENDS = ("x86-64", "host")
"""the lowest and the highest level: each is some seconds of compiling"""


@pytest.mark.needs("xgboost")
@pytest.mark.parametrize("name", SAMPLE)
def test_margins_have_every_bit(name: str) -> None:
    only = ENDS if name != SAMPLE[0] else ()
    verdict = proof.prove_xgboost(name, recipes.PROVEN[name], 6000, only=only)
    assert verdict.fault == ""
    assert verdict.infinite
    assert verdict.same == dict.fromkeys(proof.levels(only), True)
    assert verdict.nodes > 20


@pytest.mark.needs("lightgbm")
@pytest.mark.parametrize("name", ["binary", "categorical", "zero-as-missing", "rf"])
def test_lightgbm(name: str) -> None:
    verdict = proof.prove_lightgbm(name, recipes.LIGHTGBM[name], 2000, ENDS)
    assert verdict.fault == ""
    assert verdict.worst < 1e-12
    assert set(verdict.same) == set(proof.levels(ENDS))


@pytest.mark.needs("sklearn", "skops")
@pytest.mark.parametrize("name", ["forest-classes", "histogram-categories"])
def test_sklearn(name: str) -> None:
    verdict = proof.prove_sklearn(name, 2000, ENDS[1:])
    assert verdict.fault == ""
    assert verdict.worst < 1e-12


class _Off(Session):
    """A session whose margins of one row are off by the last bit."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def run(self, feeds: Any, outputs: Any = None) -> dict[str, np.ndarray]:
        found = self._session.run(feeds, outputs)
        for value in found.values():
            value[7] = np.nextafter(value[7], np.inf)
        return found

    def close(self) -> None:
        self._session.close()


@pytest.mark.needs("xgboost")
def test_one_bit_of_one_row_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = proof.opened
    monkeypatch.setattr(proof, "opened", lambda program, target, folder: _Off(opened(program, target, folder)))
    verdict = proof.prove_xgboost("stump", recipes.PROVEN["stump"], 300, only=("host",))
    assert verdict.same == {"host": False}
    assert "row 7" in verdict.fault
    assert not verdict.infinite
    line = proof.line(verdict, ["host"])
    assert "**differs**" in line
    assert line.endswith(f"| {verdict.fault} |")


def test_rows_lie_on_thresholds_and_hold_everything_odd() -> None:
    from tree_models import drawn, uncompiled

    e = uncompiled(drawn(3, trees=10, features=4, height=5, full=1.0))
    x = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    rows = proof.rows_around(e, x, 4000, 1)
    on = [np.isin(rows[:, f], e.threshold[(e.feature == f) & ~e.is_single]).mean() for f in range(4)]
    assert min(on) > 0.05
    tiny = np.finfo(np.float32).tiny
    assert ((rows != 0) & (np.abs(rows) < tiny)).any()
    assert (np.signbit(rows) & (rows == 0)).any()
    assert np.isnan(rows).any()
    assert not np.isinf(rows).any()
    assert np.isinf(proof.rows_around(e, x, 4000, 1, infinite=True)).any()


def test_sixty_ensembles_cover_every_kind() -> None:
    assert len(recipes.PROVEN) == 60
    params = [recipe.params for recipe in recipes.PROVEN.values()]
    assert {p.get("booster", "gbtree") for p in params} == {"gbtree", "dart"}
    assert {"hist", "exact", "approx"} <= {p.get("tree_method", "hist") for p in params}
    assert max(p.get("max_bin", 256) for p in params) == 1024
    assert max(recipe.features for recipe in recipes.PROVEN.values()) == 500


def test_the_page_is_written_between_its_marks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    verdict = proof.Verdict("regression", 3, 9, 2, 100, {"host": True})
    other = replace(verdict, name="lightgbm x", same={"host": False}, worst=2e-16)
    page = tmp_path / "page.md"
    page.write_text(f"before\n{proof.START}\nstale\n{proof.END}\nafter\n")
    proof._closing([verdict, other], ["host"], 0, 1.0, page)
    text = page.read_text()
    assert "stale" not in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "| XGBoost | 1 | 3 | 100 | host | none |" in text
    assert "2.0e-16 of the largest value (lightgbm x)" in text
    assert "all of them hold" in capsys.readouterr().out
