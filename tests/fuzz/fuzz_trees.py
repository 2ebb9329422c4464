"""Tree kernels against unreadable pages, and malformed ensembles against the check that must stop them.

    python tests/fuzz/fuzz_trees.py --count 300 [--seed 0] [--designs]

designs: every design at every x86 level of this machine.   drawn: ensembles that hypothesis draws, at one level each.
    Rows, tables, results and scratch each lie between two unreadable pages, once at either end; the margins must have
    the bits of the plain evaluation.
arrays: a sound ensemble with some numbers made wrong.   nodes: the same in the attributes of an ONNX node.
    Refused by a typed error; or let through, and then computed as above: nothing malformed may reach the generator.

Cases run in child processes: an access out of bounds ends the child, and is told as the failure of its case. Prints a
summary as JSON; exit status 1 when anything went wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

os.environ["NEOC_KERNELS_GUARD"] = "1"
sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from tree_designs import CASES, case, ensembles, isas
from tree_models import drawn, rows_for, same_bits, to_onnx

from neoc.compile.errors import NeocError
from neoc.compile.frontends import load
from neoc.kernels.errors import KernelInputError
from neoc.kernels.trees.compiler import compile_ensemble
from neoc.kernels.trees.ensemble import Ensemble, evaluate
from neoc.kernels.trees.isa import Isa

KINDS = ("drawn", "arrays", "arrays", "arrays", "arrays", "arrays", "nodes", "nodes")
GOOD = ("same", "refused")


def compared(e: Ensemble, isa: Isa, counts: tuple[int, ...]) -> str:
    """'same' where the guarded kernel has the bits of the plain evaluation."""
    predictor = compile_ensemble(e, isa)
    rows = rows_for(e, max(counts))
    with np.errstate(all="ignore"):
        want = evaluate(e, rows)
    for count in counts:
        if not same_bits(predictor(np.ascontiguousarray(rows[:count])), want[:count]):
            return f"other bits in {count} rows"
    return "same"


def counts_for(isa: Isa, rng: random.Random) -> tuple[int, ...]:
    """Few rows, and numbers of rows around a block."""
    return (1, rng.randrange(2, 20), isa.rows + rng.choice((-1, 0, 1)), isa.rows + rng.randrange(2, 40))


# ---- damage ------------------------------------------------------------------------------------

NASTY = (0, 1, -1, 7, 127, 255, 2**31 - 1, -(2**31), 10**6)


def damaged(e: Ensemble, rng: random.Random) -> Ensemble:
    """Some numbers, a length, a dtype or a size made wrong."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        name = rng.choice([f.name for f in fields(e)])
        value = getattr(e, name)
        if isinstance(value, np.ndarray):
            e = replace(e, **{name: _array(value, rng)})
        elif isinstance(value, int):
            e = replace(e, **{name: rng.choice((0, -1, value - 1, value + 1, 2**20 + 1, 2**31))})
        else:
            e = replace(e, **{name: rng.choice(("f32", "f64", "f32-sequential", "f16"))})
    return e


def _array(value: np.ndarray, rng: random.Random) -> np.ndarray:
    value = value.reshape(-1)
    kind = rng.choice(("number", "number", "number", "number", "swap", "cut", "longer", "dtype", "shape"))
    if kind == "cut":
        return value[: rng.randrange(len(value) + 1)]
    if kind == "longer":
        return np.concatenate([value, value[:1], np.zeros(1, value.dtype)])
    if kind == "dtype":
        return value.astype(rng.choice([np.int64, np.float64, np.float32, np.int8]))
    if kind == "shape":
        return value.reshape(1, -1)
    made = value.copy()
    if len(made) and kind == "swap":
        a, b = rng.randrange(len(made)), rng.randrange(len(made))
        made[[a, b]] = made[[b, a]]
    elif len(made):
        floats = (np.nan, np.inf, -np.inf, -0.0, 1e-45, 3e38)
        with np.errstate(all="ignore"):
            wrong = np.array(rng.choice(floats if made.dtype.kind == "f" else NASTY + tuple(range(-4, 12))))
            made[rng.randrange(len(made))] = wrong.astype(made.dtype)
    return made


def damaged_node(path: Path, rng: random.Random) -> None:
    """An attribute of the TreeEnsemble: a number, its length, its presence."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(path)
    node = next(n for n in model.graph.node if n.op_type == "TreeEnsemble")
    attribute = rng.choice(list(node.attribute))
    if rng.random() < 0.1:
        node.attribute.remove(attribute)
    elif attribute.ints:
        values = list(attribute.ints)
        if rng.random() < 0.2:
            values = values[: rng.randrange(len(values))]
        else:
            values[rng.randrange(len(values))] = rng.choice((*NASTY, 2**40, *range(12)))
        del attribute.ints[:]
        attribute.ints.extend(values)
    elif attribute.type == onnx.AttributeProto.TENSOR:
        attribute.t.CopyFrom(numpy_helper.from_array(_array(numpy_helper.to_array(attribute.t), rng)))
    else:
        attribute.i = rng.choice((*NASTY, 2, 3))
    onnx.save(model, path)


# ---- one case ----------------------------------------------------------------------------------


def sound(rng: random.Random) -> Ensemble:
    options = rng.choice(
        ({"height": 2}, {"height": 4, "targets": 2}, {"height": 5, "modes": CASES["every mode"]["modes"]})
    )
    return drawn(rng.randrange(40), trees=rng.randrange(1, 6), **options)  # type: ignore[arg-type]


def run_arrays(rng: random.Random, isa: Isa) -> str:
    e = damaged(sound(rng), rng)
    try:
        return compared(e, isa, counts_for(isa, rng)) if _sizes_fit(e) else _refused(e)
    except KernelInputError:
        return "refused"


def _sizes_fit(e: Ensemble) -> bool:
    """Rows of a million columns are no test's business."""
    return 0 < e.features * 600 < 10**7


def _refused(e: Ensemble) -> str:
    from neoc.kernels.trees.ensemble import check

    check(e)
    return "same"


def run_nodes(rng: random.Random, isa: Isa) -> str:
    from neoc.targets import get_target
    from neoc.targets.engines.trees import Trees
    from neoc.targets.engines.trees_program import take_apart

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.onnx"
        to_onnx(sound(rng), path)
        damaged_node(path, rng)
        try:
            program = load(path, {})
        except NeocError as error:
            return "refused" if error.exit_status != 70 else f"bug: {error}"
        if Trees().gaps(program, get_target("aarch64")):
            return "refused"
        return compared(take_apart(program).ensemble, isa, counts_for(isa, rng))


def run_drawn(rng: random.Random, isa: Isa) -> str:
    found: list[str] = []

    @seed(rng.randrange(2**32))
    @settings(
        max_examples=1, database=None, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
    )
    @given(ensembles())
    def one(e: Ensemble) -> None:
        found.append(compared(e, isa, counts_for(isa, rng)))

    one()
    return found[-1]


RUNS: dict[str, Callable[[random.Random, Isa], str]] = {"drawn": run_drawn, "arrays": run_arrays, "nodes": run_nodes}


def run_case(number: int, start: int) -> tuple[str, str]:
    """(kind, outcome)"""
    rng = random.Random(f"{start}:{number}")
    kind = KINDS[number % len(KINDS)]
    levels = [isa for _, isa in isas()]
    # Damaged ensembles that are let through share few shapes: at one level their kernels are soon all made.
    isa = rng.choice(levels) if kind == "drawn" else levels[-1]
    return kind, RUNS[kind](rng, isa)


def run_design(number: int) -> tuple[str, str]:
    levels = isas()
    name, (level, isa) = list(CASES)[number // len(levels)], levels[number % len(levels)]
    outcome = compared(case(name), isa, counts_for(isa, random.Random(number)))
    return "designs", outcome if outcome == "same" else f"{name}, {level}: {outcome}"


def work(first: int, last: int, start: int, designs: bool) -> None:
    """The child: a line of JSON for each case."""
    for number in range(first, last):
        try:
            kind, outcome = run_design(number) if designs else run_case(number, start)
        except Exception:
            kind, outcome = "?", traceback.format_exc()[-600:]
        print(json.dumps([number, kind, outcome]), flush=True)


# ---- the parent --------------------------------------------------------------------------------


def run(count: int, start: int, designs: bool) -> dict[str, Any]:
    """Outcomes of all cases; a child that dies fails its case, and the next child goes on behind it."""
    outcomes: Counter[str] = Counter()
    failures: list[dict[str, Any]] = []
    first = 0
    while first < count:
        command = [sys.executable, __file__, "--work", str(first), str(count), "--seed", str(start)]
        done = subprocess.run(
            [*command, *["--designs"] * designs], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        for line in done.stdout.splitlines():
            number, kind, outcome = json.loads(line)
            first = number + 1
            outcomes[f"{kind}: {outcome if outcome in GOOD else 'failed'}"] += 1
            if outcome not in GOOD:
                failures.append({"case": number, "kind": kind, "outcome": outcome})
        if done.returncode or first < count:
            failures.append(
                {"case": first, "kind": "lost", "outcome": f"status {done.returncode}: {done.stderr[-800:]}"}
            )
            outcomes["lost"] += 1
            first += 1
    return {"outcomes": dict(sorted(outcomes.items())), "failures": failures}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--designs", action="store_true", help="every design at every level, instead of drawn cases")
    parser.add_argument("--work", type=int, nargs=2, help=argparse.SUPPRESS)
    given_ = parser.parse_args()
    if given_.work:
        work(*given_.work, given_.seed, given_.designs)
        return 0
    count = len(CASES) * len(isas()) if given_.designs else given_.count
    result = run(count, given_.seed, given_.designs)
    print(json.dumps(result, indent=1))
    return 1 if result["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
