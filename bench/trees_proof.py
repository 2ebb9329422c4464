"""Margins of compiled tree models against the libraries that trained them: the proof of docs/tree-compiler.md.

    python -m neoc.bench.trees_proof [--rows N] [--cases NAME;...] [--emulated-rows N] [--write docs/tree-compiler.md]

XGBoost: 60 ensembles (`tree_recipes.PROVEN`) from file to machine code, at every level of instructions that this
processor has, on rows that hold NaN, zeros of both signs, denormals, and values on and next to the thresholds of their
columns; and, where qemu and cross compilers are, the code for ARM. Every bit counts. Infinities, which a DMatrix
refuses, are held against the plain walk over the parsed trees. LightGBM and scikit-learn: all outputs, with the largest
difference. Exit status 1 where anything differs by more than is said.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from neoc.bench import tree_recipes as recipes
from neoc.compile import frontends
from neoc.compile.contracts import EngineOptions, Session, Target, Variant
from neoc.compile.frontends.trees import form, walk
from neoc.compile.frontends.trees.ensemble import MEMBER, Ensemble
from neoc.compile.options import CompileOptions
from neoc.kernels.trees.code import kernel_image
from neoc.kernels.trees.isa import isa_of
from neoc.kernels.trees.layout import layout_of
from neoc.targets import get_target, tree_runner
from neoc.targets.engines.trees import Trees
from neoc.targets.engines.trees_program import take_apart
from neoc.targets.host import X86_LEVELS, detect

if TYPE_CHECKING:
    from neoc.compile.program import Program

START, END = "<!-- proof -->", "<!-- /proof -->"
CHUNK = 20_000
EMULATED = {"aarch64": "cortex-a53", "armv7": "cortex-a15"}
"""architecture -> the processor that qemu is to be"""
WALKED = 2_000_000
"""pairs of row and tree that the plain walk takes for infinities"""
BOUND = 1e-6
"""relative to the largest output: what LightGBM and scikit-learn may differ by"""

Array = np.ndarray


@dataclass
class Verdict:
    """What one model showed."""

    name: str
    trees: int
    nodes: int
    depth: int
    rows: int
    same: dict[str, bool] = field(default_factory=dict)
    """level -> whether every bit of every margin was the library's"""
    infinite: bool = True
    """whether rows with infinities gave what the walk gives; True where none were tried"""
    worst: float = 0.0
    """largest difference of any output, relative to its largest value"""
    fault: str = ""
    """the first thing that was wrong"""

    @property
    def holds(self) -> bool:
        return not self.fault


# ---- levels -------------------------------------------------------------------------------------------


def levels(only: Sequence[str] = ()) -> dict[str, Target]:
    """What this processor can run: the psABI's levels of x86-64, and all that it has; `only` some of these."""
    host = get_target("host")
    found = {
        level: replace(host, name=level, features=needed)
        for level, needed in X86_LEVELS.items()
        if host.arch == "x86_64" and needed <= detect().features
    }
    return {name: target for name, target in (found | {"host": host}).items() if not only or name in only}


def opened(program: Program, target: Target, folder: Path, threads: int = 1) -> Session:
    """The program as the engine compiles it for the target. Raises ValueError where it has gaps."""
    return Made.of(program, target, folder).opened(threads)


@dataclass(frozen=True)
class Made:
    """What the engine made of a program: it can be opened several times."""

    members: dict[str, memoryview]
    program: Program
    variant: Variant

    @classmethod
    def of(cls, program: Program, target: Target, folder: Path) -> Made:
        """Raises ValueError where the program has gaps."""
        engine = Trees()
        if gaps := engine.gaps(program, target):
            raise ValueError("; ".join(gap.reason for gap in gaps))
        variant = engine.variants(program, target, EngineOptions())[0]
        folder.mkdir(parents=True)
        built = engine.build(program, target, variant, folder)
        return cls({name: memoryview(path.read_bytes()) for name, path in built.members.items()}, program, variant)

    def opened(self, threads: int) -> Session:
        return Trees().open(self.members, self.program.signature, self.variant, threads, None)


# ---- rows ---------------------------------------------------------------------------------------------

_UNSEEN = (-1.0, -0.5, 0.5, 1e6, 16777216.0, 3e9, -3e9, 31.0, 32.0)
"""what is no category, or none that was seen: negative, with a fraction, beyond what an integer holds"""


def rows_around(e: Ensemble, x: Array, count: int, seed: int, infinite: bool = False) -> Array:
    """Rows of `x` [rows, F], in its dtype, most cells replaced by what comparisons might get wrong.

    A third lie on a threshold of their own column or next to it; category columns hold unseen and impossible values.
    """
    rng = np.random.default_rng(seed)
    rows = x[rng.integers(0, len(x), count)].copy()
    numeric = (e.mode != MEMBER) & ~e.is_single & np.isfinite(e.threshold)
    feature = e.feature % x.shape[1]
    order = np.argsort(feature[numeric], kind="stable")
    column, threshold = feature[numeric][order], e.threshold[numeric][order].astype(x.dtype)
    for f, start, end in _runs(column):
        cells = np.flatnonzero(rng.random(count) < 0.33)
        rows[cells, f] = recipes.beside(rng.choice(threshold[start:end], len(cells)), rng)
    for f in np.unique(feature[e.mode == MEMBER]):
        cells = np.flatnonzero(rng.random(count) < 0.2)
        rows[cells, f] = rng.choice(np.array(_UNSEEN, x.dtype), len(cells))
    bounds = np.finfo(x.dtype)
    tiny, least = float(bounds.tiny), float(bounds.smallest_subnormal)
    for value in (0.0, -0.0, least, -least, tiny, -tiny, 0.7 * tiny, 3e38, -3e38, *([np.inf, -np.inf] * infinite)):
        rows[rng.random(rows.shape) < 0.01] = value
    rows[rng.random(rows.shape) < 0.03] = np.nan
    return rows


def _runs(column: Array) -> Iterator[tuple[int, int, int]]:
    """(value, first, one past the last) of each run of equal values."""
    edges = np.flatnonzero(np.diff(column, prepend=-1, append=-1))
    for start, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        yield int(column[start]), start, end


def _same(a: Array, b: Array) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def parsed(program: Program) -> Ensemble:
    """The trees as the front end read them."""
    return form.parse(next(n for n in program.nodes() if n.op_type == "TreeEnsemble"))


def _described(name: str, e: Ensemble, rows: int) -> Verdict:
    inner = int(np.count_nonzero(~e.is_single))
    return Verdict(name, e.trees, inner, e.depth(), rows)


# ---- XGBoost -------------------------------------------------------------------------------------------


def prove_xgboost(name: str, recipe: recipes.Recipe, rows: int, emulated: int = 0, only: Sequence[str] = ()) -> Verdict:
    """Margins of the trained model, from its file to machine code, against Booster.predict, to the bit."""
    import xgboost

    booster, x, types = recipes.xgboost(recipe)
    booster.set_param({"nthread": 2})
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        path = Path(folder) / "m.ubj"
        booster.save_model(path)
        options = CompileOptions(use_cache=False, pairs=(("iterations", "all"),))
        program = frontends.load(path, {}, options)
        trees = parsed(program)
        verdict = _described(name, trees, rows)
        sessions = {k: stack.enter_context(opened(program, t, Path(folder) / k)) for k, t in levels(only).items()}
        verdict.same = dict.fromkeys(sessions, True)
        for k, size in enumerate(_chunks(rows)):
            part = rows_around(trees, x, size, k)
            # A DMatrix that was predicted before answers from a cache: each chunk makes its own.
            matrix = xgboost.DMatrix(part, feature_types=types, enable_categorical=True, nthread=2)
            want = np.asarray(booster.predict(matrix, output_margin=True))
            if k == 0 and recipe.rounds > 1 and len(np.unique(want)) < 2:
                verdict.fault = "its margins do not depend on the rows"
            for level, session in sessions.items():
                got = session.run({"features": part}, ["margin"])["margin"]
                _note(verdict, level, got, want.reshape(got.shape))
            if k == 0 and emulated:
                _emulate(verdict, program, part[:emulated], want[:emulated])
        _infinities(verdict, program, trees, x, sessions["host"])
    return verdict


def _chunks(rows: int) -> Iterable[int]:
    return [min(CHUNK, rows - start) for start in range(0, rows, CHUNK)]


def _note(verdict: Verdict, level: str, got: Array, want: Array) -> None:
    if _same(got, want):
        return
    verdict.same[level] = False
    if not verdict.fault:
        apart = np.argwhere(got.view(np.int32) != want.view(np.int32)) if got.dtype == want.dtype else [[0]]
        row = int(apart[0][0])
        verdict.fault = f"at {level} row {row} gives {got[row]}, and the library {want[row]}"


def _emulate(verdict: Verdict, program: Program, rows: Array, want: Array) -> None:
    ensemble = take_apart(program).ensemble
    for arch, cpu in EMULATED.items():
        if not tree_runner.why_not(arch):
            isa = isa_of(arch, frozenset({"asimd"}))
            layout = layout_of(ensemble, isa)
            image, tables = memoryview(kernel_image(layout.shape, isa)), memoryview(layout.tables.tobytes())
            types = ensemble.row_dtype, ensemble.sum_dtype
            predictor = tree_runner.EmulatedPredictor(image, tables, *types, arch=arch, cpu=cpu)
            got = predictor(rows)
            predictor.close()
            verdict.same[arch] = True
            _note(verdict, arch, got, want.reshape(got.shape))


def _infinities(verdict: Verdict, program: Program, e: Ensemble, x: Array, session: Session) -> None:
    rows = rows_around(e, x, int(np.clip(WALKED // e.trees, 64, 4000)), 99, infinite=True)
    seen = rows.copy()
    seen[:, e.categorical] = np.floor(seen[:, e.categorical])  # as XGBoost casts categories
    got = session.run({"features": rows}, ["margin"])["margin"]
    want = walk.evaluate(e, seen).reshape(got.shape)
    verdict.infinite = _same(got, want)
    if not verdict.infinite and not verdict.fault:
        verdict.fault = "rows with infinities give something else than the walk over the trees"


# ---- LightGBM, scikit-learn ----------------------------------------------------------------------------


def prove_lightgbm(name: str, recipe: recipes.Recipe, rows: int, only: Sequence[str] = ()) -> Verdict:
    """Sums and predictions against Booster.predict."""
    booster, x = recipes.lightgbm(recipe)

    def save(path: Path) -> None:
        booster.save_model(str(path))

    def answers(part: Array) -> dict[str, Array]:
        raw = np.asarray(booster.predict(part, raw_score=True, num_threads=1))
        return {"margin": raw, "prediction": np.asarray(booster.predict(part, num_threads=1))}

    return _prove_outputs(f"lightgbm {name}", "m.txt", save, answers, x, rows, True, only)


def prove_sklearn(name: str, rows: int, only: Sequence[str] = ()) -> Verdict:
    """predict, predict_proba and raw scores of a fitted estimator."""
    estimator, x = recipes.fitted(name)

    def save(path: Path) -> None:
        import skops.io

        skops.io.dump(estimator, path)

    def answers(part: Array) -> dict[str, Array]:
        found = {"prediction": np.asarray(estimator.predict(part))}
        if hasattr(estimator, "predict_proba"):
            found["probability"] = np.asarray(estimator.predict_proba(part))
        if hasattr(estimator, "decision_function"):
            found["margin"] = np.asarray(estimator.decision_function(part))
        return found

    nan = not name.startswith(("boosting", "extra"))
    return _prove_outputs(f"sklearn {name}", "m.skops", save, answers, x, rows, nan, only)


def _prove_outputs(
    name: str,
    file: str,
    save: Callable[[Path], None],
    answers: Callable[[Array], dict[str, Array]],
    x: Array,
    rows: int,
    nan: bool,
    only: Sequence[str],
) -> Verdict:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        path = Path(folder) / file
        save(path)
        program = frontends.load(path, {}, CompileOptions(use_cache=False))
        trees = parsed(program)
        verdict = _described(name, trees, rows)
        try:
            sessions = {k: stack.enter_context(opened(program, t, Path(folder) / k)) for k, t in levels(only).items()}
        except ValueError as error:
            verdict.fault = f"not compiled: {error}"
            return verdict
        verdict.same = dict.fromkeys(sessions, True)
        dtype = program.signature.inputs[0].dtype
        for k, size in enumerate(_chunks(rows)):
            part = rows_around(trees, x.astype(dtype), size, k)
            if not nan:
                part = np.nan_to_num(part, nan=1.5)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # scikit-learn adds up the largest floats to see whether all are finite
                want = answers(part)
            for level, session in sessions.items():
                outputs = session.run({"features": part})
                for output in outputs.keys() & want.keys():
                    _note_near(verdict, level, output, outputs[output], want[output])
    return verdict


def _note_near(verdict: Verdict, level: str, output: str, got: Array, want: Array) -> None:
    want = want.reshape(got.shape).astype(got.dtype)
    verdict.same[level] &= _same(got, want)
    scale = float(np.max(np.abs(want), initial=1e-300))
    difference = float(np.max(np.abs(got - want), initial=0.0)) / scale
    verdict.worst = max(verdict.worst, difference)
    if not difference <= BOUND and not verdict.fault:
        verdict.fault = f"at {level} {output} is off by {difference:.2g} of its largest value"


# ---- the table -----------------------------------------------------------------------------------------


def line(v: Verdict, columns: Sequence[str]) -> str:
    """A row: every bit equal ('=') at each level, or the largest relative difference."""
    cells = [_cell(v, level) for level in columns]
    return f"| {v.name} | {v.trees} | {v.nodes} | {v.depth} | {v.rows:,} | {' | '.join(cells)} | {v.fault} |"


def _cell(v: Verdict, level: str) -> str:
    if level not in v.same:
        return "-"
    if v.same[level]:
        return "="
    return f"{v.worst:.1e}" if not v.fault else "**differs**"


def summary(verdicts: Sequence[Verdict], columns: Sequence[str]) -> list[str]:
    """What the docs say: one line for each library and level."""
    made = [
        "| models of | number | trees | rows of each | bits equal at | largest difference elsewhere |",
        "|---|---|---|---|---|---|",
    ]
    for library, mine in _by_library(verdicts).items():
        whole = [c for c in columns if all(v.same.get(c, False) for v in mine)]
        rest = [v for v in mine if not all(v.same.get(c, True) for c in columns)]
        worst = max((v.worst for v in rest), default=0.0)
        equal = ", ".join(whole) if whole else f"every level for {len(mine) - len(rest)} of them"
        apart = "none" if not rest else f"{worst:.1e} of the largest value ({', '.join(v.name for v in rest)})"
        trees = sum(v.trees for v in mine)
        made.append(f"| {library} | {len(mine)} | {trees:,} | {mine[0].rows:,} | {equal} | {apart} |")
    return made


def _by_library(verdicts: Sequence[Verdict]) -> dict[str, list[Verdict]]:
    found: dict[str, list[Verdict]] = {"XGBoost": [], "LightGBM": [], "scikit-learn": []}
    for v in verdicts:
        kind = {"lightgbm": "LightGBM", "sklearn": "scikit-learn"}.get(v.name.split(" ")[0], "XGBoost")
        found[kind].append(v)
    return {k: v for k, v in found.items() if v}


def run(rows: int, emulated: int, wanted: Sequence[str]) -> Iterator[Verdict]:
    """All cases whose name holds one of `wanted`, or all; the other libraries' with a tenth of the rows."""

    def chosen(name: str) -> bool:
        return not wanted or any(w in name for w in wanted)

    for name, recipe in recipes.PROVEN.items():
        if chosen(name):
            yield prove_xgboost(name, recipe, rows, emulated)
    for name, recipe in recipes.LIGHTGBM.items():
        if chosen(f"lightgbm {name}"):
            yield prove_lightgbm(name, recipe, max(1000, rows // 10))
    for name in recipes.estimators():
        if chosen(f"sklearn {name}"):
            yield prove_sklearn(name, max(1000, rows // 10))


def _versions() -> str:
    from importlib.metadata import PackageNotFoundError, version

    found = []
    for name in ("xgboost", "xgboost-cpu", "lightgbm", "scikit-learn"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m neoc.bench.trees_proof")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--emulated-rows", type=int, default=1000, help="rows under qemu; 0: none")
    parser.add_argument("--cases", default="", help="parts of names, separated by ';'")
    parser.add_argument("--write", type=Path)
    chosen = parser.parse_args(arguments)
    columns = [*levels(), *(a for a in EMULATED if chosen.emulated_rows)]
    print(f"| model | trees | nodes | depth | rows | {' | '.join(columns)} | fault |")
    print("|---" * (6 + len(columns)) + "|")
    start, verdicts = time.monotonic(), []
    for verdict in run(chosen.rows, chosen.emulated_rows, [c for c in chosen.cases.split(";") if c]):
        verdicts.append(verdict)
        print(line(verdict, columns), flush=True)
    _closing(verdicts, columns, chosen.emulated_rows, time.monotonic() - start, chosen.write)
    return 0 if verdicts and all(v.holds for v in verdicts) else 1


def _closing(
    verdicts: Sequence[Verdict], columns: Sequence[str], emulated: int, seconds: float, page: Path | None
) -> None:
    from neoc.compile.machine import fingerprint

    for arch in EMULATED:
        if emulated and (why := tree_runner.why_not(arch)):
            print(f"{arch} was not emulated: {why}", file=sys.stderr)
    cpu = fingerprint()["machine"].get("cpu", "?")
    bad = [v.name for v in verdicts if not v.holds]
    said = f"{len(bad)} of them do not hold: {', '.join(bad)}" if bad else "all of them hold"
    text = [
        f"{cpu}, {_versions()}: {len(verdicts)} models, {said}; {emulated:,} rows each under qemu.",
        "",
        *summary(verdicts, columns),
    ]
    print("\n".join(["", *text, f"({seconds:.0f} s)"]))
    if page is not None:
        old = page.read_text()
        a, b = old.index(START) + len(START), old.index(END)
        page.write_text(old[:a] + "\n" + "\n".join(text) + "\n" + old[b:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
