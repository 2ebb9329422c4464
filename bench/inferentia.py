"""`make inferentia`: real models compiled for a Neuron chip, and how near the emitted programs come to their sources.

A row is one `compile_model`: the level that it reached, the largest relative error of any output, what that is measured
against, the FLOPs, the size of the HLO module, the seconds that all of it took. Nothing says how fast a chip would be.

usage: python -m neoc.bench.inferentia [--target NAME] [--json FILE] [MODEL...]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from neoc.bench import light_models, torch_models, tree_models, zoo
from neoc.compile import compile_model
from neoc.compile.analysis import cost
from neoc.compile.errors import NeocError
from neoc.compile.options import CompileOptions, InputBinding
from neoc.targets import get_target

Shapes = dict[str, tuple[int, ...]]
ZOO: dict[str, Shapes] = {
    "silero_vad_openvino_16k": {},
    "silero_vad_16k_sequence": {"input": (50, 576)},
    "ppocrv4_det": {"x": (1, 3, 320, 320)},
    "ppocr_cls": {"x": (1, 3, 48, 192)},
    "magika": {"bytes": (1, 2048)},
    "basic_pitch": {"serving_default_input_2:0": (1, 43844, 1)},
}
"""entries of the zoo, with the shapes that a static chip is given"""


COLUMNS = ("model", "level", "largest relative error", "against", "FLOPs", "HLO module", "seconds")


@dataclass(frozen=True)
class Subject:
    name: str
    prepare: Callable[[Path], tuple[Path, Path | None]]
    """folder -> the model, and an .npz of inputs"""
    shapes: Shapes


@dataclass(frozen=True)
class Row:
    name: str
    level: str
    relative: float | None
    reference: str
    flops: int
    module_bytes: int
    seconds: float
    why: str = ""


def subjects() -> Iterator[Subject]:
    for name, shapes in ZOO.items():
        yield Subject(name, lambda folder, name=name: _zoo(name, folder, ZOO[name]), shapes)  # type: ignore[misc]
    yield Subject("minilm_l6", torch_models.minilm, {})
    yield Subject("mtcnn_onet", torch_models.onet, {})
    rows: Shapes = {"features": (tree_models.ROWS, tree_models.FEATURES)}
    yield Subject("xgboost", tree_models.xgboost_ensemble, rows)
    yield Subject("xgboost_deep", lambda folder: tree_models.xgboost_ensemble(folder, depth=10), rows)
    for name in light_models.NAMES:
        yield Subject(f"light {name}", lambda folder, name=name: _light(name, folder), {})  # type: ignore[misc]


def _zoo(name: str, folder: Path, shapes: Shapes) -> tuple[Path, Path | None]:
    """The model, and those of its inputs that have the bound shapes."""
    (entry,) = zoo.fetch([name])
    if entry.data is None:
        return entry.path, None
    with np.load(entry.data) as arrays:
        given = {key: arrays[key] for key in arrays.files}
    fits = all(given[key].shape[1:] == shape for key, shape in shapes.items() if key in given)
    return entry.path, entry.data if fits else None


def _light(name: str, folder: Path) -> tuple[Path, Path | None]:
    return light_models.randomised(name, folder)


def measure(subject: Subject, target: str, folder: Path) -> Row:
    """Compile one model, with the cache off."""
    try:
        model, data = subject.prepare(folder)
    except NeocError as error:
        return Row(subject.name, "not here", None, "", 0, 0, 0.0, str(error))
    bound = {key: InputBinding(shape) for key, shape in subject.shapes.items()}
    options = CompileOptions(inputs=bound, data=data, use_cache=False)
    begin = time.monotonic()
    try:
        artifact = compile_model(model, get_target(target), options, output=folder / "m.neoc")
    except NeocError as error:
        return Row(subject.name, "failed", None, "", 0, 0, time.monotonic() - begin, str(error))
    seconds = time.monotonic() - begin
    proof = artifact.manifest["verification"]
    errors = [o["relative"] for o in proof["outputs"] if not o["vacuous"]]
    worst = max((e if isinstance(e, float) else float("inf") for e in errors), default=None)
    size = next((m.size for name, m in artifact.members().items() if name.endswith("module.hlo.pb")), 0)
    flops = cost(artifact.program()).flops
    return Row(subject.name, artifact.level, worst, proof["judged_by"], flops, size, seconds)


def operators() -> str:
    """The op table by family, one line each: how many rows, and their names."""
    from neoc.targets.engines.neuron.ops import FAMILIES

    total = sum(len(rows) for rows in FAMILIES.values())
    lines = [f"| {name} | {len(rows)} | {', '.join(row.key for row in rows)} |" for name, rows in FAMILIES.items()]
    return "\n".join([f"{total} operators", "", "| family | rows | operators |", "|---|---|---|", *lines])


def main() -> int:
    parser = argparse.ArgumentParser(description="real models compiled for a Neuron chip")
    parser.add_argument("models", nargs="*", help="only these")
    parser.add_argument("--target", default="inf2")
    parser.add_argument("--json", type=Path, help="the rows as JSON")
    parser.add_argument("--operators", action="store_true", help="print the op table by family instead")
    arguments = parser.parse_args()
    if arguments.operators:
        print(operators())
        return 0
    known = {subject.name.removeprefix("light "): subject for subject in subjects()}
    unknown = [name for name in arguments.models if name not in known]
    if unknown:
        parser.error(f"no such model: {', '.join(unknown)}; there are {', '.join(known)}")
    rows = []
    print(
        "| model | level | largest relative error | FLOPs | HLO module | seconds |\n|---|---|---|---|---|---|",
        flush=True,
    )
    for name in arguments.models or known:
        with tempfile.TemporaryDirectory(prefix="neoc-inferentia-") as scratch:
            row = measure(known[name], arguments.target, Path(scratch))
        rows.append(row)
        error = "-" if row.relative is None else f"{row.relative:.1e}"
        sizes = f"{row.flops / 1e9:.2f} G | {row.module_bytes / 1e3:.0f} kB"
        judge = row.reference.partition(" ")[0] or "-"
        print(f"| {row.name} | {row.level} | {error} | {judge} | {sizes} | {row.seconds:.0f} |", flush=True)
        if row.why:
            print(row.why, file=sys.stderr)
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    return 0 if all(row.level not in ("failed", "not here") for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
