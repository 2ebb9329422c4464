"""Made-up rows for tree models: values around the model's own thresholds, exactly on them, and everything odd.

What the source library refuses (infinities, NaN, unknown categories) the conversion has noted in the model's metadata,
under HINTS: nothing is imported here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from neoc.compile.frontends.trees.columns import CATEGORIES, Table, known_values
from neoc.compile.frontends.trees.ensemble import MEMBER, Array, Ensemble
from neoc.kernels.tabular import Block, Numeric

if TYPE_CHECKING:
    from neoc.compile.program import Program

HINTS = "neoc.samples"

_ROWS = 384
_CELLS = 1 << 19
"""of one feed: wide tables get fewer rows"""


@dataclass(frozen=True)
class Column:
    """What a column may hold: numbers around a centre, or one of a few values."""

    centre: float = 0.0
    spread: float = 1.0
    values: tuple[Any, ...] = ()
    strict: bool = False
    """whether any other value is an error"""


@dataclass(frozen=True)
class Hints:
    nan: bool = True
    infinity: bool = False
    numbers: tuple[Column, ...] | None = None
    """of `features`; None: the trees read the matrix itself, and their thresholds say what is in it"""
    texts: tuple[Column, ...] = ()

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Hints:
        data = json.loads(text)
        numbers = data["numbers"]
        return cls(
            data["nan"],
            data["infinity"],
            None if numbers is None else tuple(_column(c) for c in numbers),
            tuple(_column(c) for c in data["texts"]),
        )


def _column(data: dict[str, Any]) -> Column:
    return Column(data["centre"], data["spread"], tuple(data["values"]), data["strict"])


def hints_of_table(blocks: Sequence[Block], table: Table, nan: bool) -> Hints:
    """Of column steps: a scaler knows what its column looked like, an encoder which values there are."""
    known = known_values(blocks)
    scales: dict[int, Column] = {}
    for block in blocks:
        if isinstance(block, Numeric) and block.column not in scales:
            scales[block.column] = _scale(dict(block.steps))
    made: dict[int, Column] = {}
    for column in (*table.numbers, *table.texts):
        if column in known:
            values, strict = known[column]
            made[column] = Column(values=tuple(v for v in values if v is not None), strict=strict)
        else:
            made[column] = scales.get(column, Column())
    return Hints(nan, False, tuple(made[c] for c in table.numbers), tuple(made[c] for c in table.texts))


def _scale(steps: dict[str, Any]) -> Column:
    if "bucketise" in steps:
        edges = steps["bucketise"] or (0.0,)
        return Column((edges[0] + edges[-1]) / 2, max(edges[-1] - edges[0], 1e-6))
    if steps.get("multiply"):  # x * scale + low, from 0 to 1
        return Column((0.5 - steps.get("add", 0.0)) / steps["multiply"], abs(0.5 / steps["multiply"]))
    return Column(float(steps.get("subtract", steps.get("impute", 0.0)) or 0.0), abs(float(steps.get("divide", 1.0))))


def groups(program: Program, seed: int) -> Iterator[Sequence[dict[str, Array]]]:
    """Pairs of feeds, the first with everything that the source is said to take, then ever tamer ones."""
    hints = Hints.from_json(program.model.metadata_props.get(HINTS, Hints().to_json()))
    for nan, odd in ((hints.nan, True), (False, True), (False, False)):
        rng = np.random.default_rng(seed)
        yield [_feed(program, hints, rng, nan, odd) for _ in range(2)]


def _feed(program: Program, hints: Hints, rng: np.random.Generator, nan: bool, odd: bool) -> dict[str, Array]:
    feed: dict[str, Array] = {}
    for spec in program.signature.inputs:
        width = spec.shape[1] if spec.shape is not None and isinstance(spec.shape[1], int) else 0
        rows = int(np.clip(_CELLS // max(1, width), 16, _ROWS))
        if spec.name == CATEGORIES:
            feed[spec.name] = np.stack([_texts(column, rows, rng, odd) for column in hints.texts], axis=1)
        elif hints.numbers is not None:
            columns = [_numbers(column, rows, rng, nan, odd) for column in hints.numbers]
            feed[spec.name] = np.stack(columns, axis=1).astype(spec.dtype)
        else:
            feed[spec.name] = _matrix(program, hints, rows, width, spec.dtype, rng, nan, odd)
    return feed


# ---- columns of a pipeline ----------------------------------------------------------------------------


def _texts(column: Column, rows: int, rng: np.random.Generator, odd: bool) -> Array:
    made = np.array(column.values, object)[rng.integers(0, len(column.values), rows)]
    if odd and not column.strict:
        made[rng.random(rows) < 0.05] = "never seen"
    return made


def _numbers(column: Column, rows: int, rng: np.random.Generator, nan: bool, odd: bool) -> Array:
    if column.values:
        made = np.array(column.values, np.float64)[rng.integers(0, len(column.values), rows)]
        if odd and not column.strict:
            made[rng.random(rows) < 0.05] = np.max(made) + 1.5
        return made
    made = column.centre + column.spread * 1.5 * rng.standard_normal(rows)
    if odd:
        made[rng.random(rows) < 0.05] = column.centre
        made[rng.random(rows) < 0.02] = 0.0
    if nan:
        made[rng.random(rows) < 0.05] = np.nan
    return made


# ---- the matrix that trees read themselves -------------------------------------------------------------


def _matrix(
    program: Program, hints: Hints, rows: int, width: int, dtype: str, rng: np.random.Generator, nan: bool, odd: bool
) -> Array:
    from neoc.compile.frontends.trees import form

    x = rng.standard_normal((rows, width))
    for node in program.nodes():
        if node.op_type == "TreeEnsemble" and width:
            _around_thresholds(form.parse(node), x, rng, odd)
    made = x.astype(dtype)
    if odd:
        _extremes(made, rng, hints.infinity)
    if nan:
        made[rng.random(made.shape) < 0.05] = np.nan
        made[0] = np.nan
    return made


def _around_thresholds(e: Ensemble, x: Array, rng: np.random.Generator, odd: bool) -> None:
    """Each column near its own thresholds; a tenth of the cells exactly on one, some on its neighbours."""
    rows, width = x.shape
    numeric = (e.mode != MEMBER) & ~e.is_single & np.isfinite(e.threshold)
    # LightGBM's columns with zeros taken for missing values stand behind the others.
    feature = e.feature % width
    for column in range(width):
        used = e.threshold[numeric & (feature == column)].astype(np.float64) if width <= 512 else np.zeros(0)
        if not len(used):
            continue
        noise = rng.standard_normal(rows) * max(float(np.std(used)), 1e-3 * float(np.abs(used).max()), 1e-6)
        x[:, column] = rng.choice(used, rows) + noise
    count = np.count_nonzero(numeric)
    if count and odd:
        picked = rng.choice(np.flatnonzero(numeric), min(4 * int(count), max(1, int(x.size) // 8)))
        exact: np.ndarray = e.threshold[picked]
        step = rng.integers(-4, 5, len(picked))
        exact = np.where(step == 4, np.nextafter(exact, np.inf, dtype=exact.dtype), exact)
        exact = np.where(step == -4, np.nextafter(exact, -np.inf, dtype=exact.dtype), exact)
        x[rng.integers(0, rows, len(picked)), feature[picked]] = exact
    for column in np.unique(feature[e.mode == MEMBER]):
        x[:, column] = _codes(e, int(column), feature, rows, rng, odd)


def _codes(e: Ensemble, column: int, feature: Array, rows: int, rng: np.random.Generator, odd: bool) -> Array:
    """Categories: known, unseen, and numbers that are none."""
    owner = np.repeat(feature, np.diff(e.member_start))
    known = np.unique(e.members[owner == column]).astype(np.float64)
    most = float(known.max(initial=1.0))
    made = np.where(
        rng.random(rows) < 0.6, rng.choice(known, rows) if len(known) else 0.0, rng.integers(0, int(most) + 3, rows)
    )
    if odd:
        oddities = np.array([-1.0, -0.5, -0.0, 0.5, most + 0.5, most + 1, 31.0, 32.0, 1e6, 16777216.0, -1e9, 1e10])
        where = rng.random(rows) < 0.1
        made[where] = rng.choice(oddities, np.count_nonzero(where))
    return made


def _extremes(x: Array, rng: np.random.Generator, infinity: bool) -> None:
    """A few cells each of zeros, subnormal and tiny numbers, the largest ones, and infinities where they are taken."""
    bounds = np.finfo(x.dtype)
    values = [0.0, -0.0, bounds.smallest_subnormal, -bounds.smallest_subnormal, bounds.tiny, 1e-36, -1e-36]
    values += [float(np.float32(1e-35)), float(bounds.max), float(bounds.min), *([np.inf, -np.inf] * infinity)]
    if not x.size:
        return
    for value in values:
        cells = rng.integers(0, x.size, max(1, x.size // 400))
        x.flat[cells] = value
