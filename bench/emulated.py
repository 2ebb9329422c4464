"""`make emulated`: real models compiled for ARM chips and run by qemu as those chips, each compared with its source.

A row is one engine's build of one model for one chip: the level that it reached, the CPU model that ran it, the largest
relative error of any output, what that is measured against, the instructions of one inference where they can be
counted, and the seconds that building and checking took here. Nothing says how fast a chip would be.

usage: python -m neoc.bench.emulated [--target NAME]... [--no-counts] [--json FILE] [MODEL...]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from neoc.bench import torch_models, tree_models, zoo
from neoc.compile import compile_model
from neoc.compile.build import Workshop, build_all, workshop
from neoc.compile.contracts import Level, Plan, Target, level_of
from neoc.compile.errors import NeocError, WrongDevice
from neoc.compile.options import CompileOptions, InputBinding
from neoc.compile.pipeline import lower
from neoc.compile.plan import views
from neoc.compile.program import Program
from neoc.compile.verify import Verified, verify_all
from neoc.targets import get_target, guest, instructions, open_artifact

Shapes = dict[str, tuple[int, ...]]
TARGETS = ("rasp4b", "graviton3")
TOLERANCE = 1e-4
COLUMNS = ("model", "target", "-cpu", "engine", "level", "largest relative error", "against", "instructions", "seconds")


@dataclass(frozen=True)
class Subject:
    name: str
    prepare: Callable[[Path], tuple[Path, Path | None]]
    """folder -> the model, and an .npz of inputs"""
    shapes: Shapes


@dataclass(frozen=True)
class Row:
    model: str
    target: str
    cpu: str
    engine: str
    level: str
    relative: float | None
    reference: str
    instructions: int | None
    """of one inference, where a plugin of qemu can count them"""
    seconds: float
    why: str = ""

    @property
    def ok(self) -> bool:
        """Emulated and within tolerance; tree models to the bit."""
        bound = 0.0 if self.engine == "trees" else TOLERANCE
        return self.level == Level.EMULATED and self.relative is not None and self.relative <= bound


def subjects() -> Iterator[Subject]:
    yield Subject("ppocr_cls (small CNN)", lambda _: _zoo("ppocr_cls"), {"x": (1, 3, 48, 192)})
    yield Subject("mtcnn pnet", torch_models.pnet, {})
    yield Subject("mtcnn rnet", torch_models.rnet, {})
    yield Subject("mtcnn onet", torch_models.onet, {})
    yield Subject("silero_vad_openvino_16k", lambda _: _zoo("silero_vad_openvino_16k"), {})
    yield Subject("magika", lambda _: _zoo("magika"), {"bytes": (1, 2048)})
    rows: Shapes = {"features": (tree_models.ROWS, tree_models.FEATURES)}
    yield Subject("xgboost, 200 trees", tree_models.xgboost_file, rows)


def _zoo(name: str) -> tuple[Path, Path | None]:
    (entry,) = zoo.fetch([name])
    return entry.path, None


def measure(subject: Subject, targets: Sequence[str], folder: Path, counted: bool) -> Iterator[Row]:
    """A row for each target and each engine that takes the model; the source is asked once for all of them."""
    model, data = subject.prepare(folder)
    bound = {key: InputBinding(shape) for key, shape in subject.shapes.items()}
    options = CompileOptions(inputs=bound, data=data, use_cache=False)
    program = lower(model, options)
    with workshop(options, lambda stage, detail: None) as shop:
        for target in map(get_target, targets):
            for view in views(program, target, options):
                if view.plans:
                    yield _row(shop, subject.name, program, target, view.plans[0], counted)


def _row(shop: Workshop, name: str, program: Program, target: Target, plan: Plan, counted: bool) -> Row:
    """What `compile_model` does with one candidate: build it, prove it, say how far."""
    engine, cpu = plan.steps[0].engine, str(target.fact("emulated_as", "-"))
    begin = time.monotonic()
    candidates = build_all(shop, [plan], target)
    verified = verify_all(shop, program, target, candidates)
    seconds = time.monotonic() - begin
    shop.rest()
    if not verified:
        return Row(name, target.name, cpu, engine, "failed", None, "", None, seconds, str(shop.losses[-1].error))
    (proof,) = verified
    errors = [report.relative for report in proof.reports if report.moved]
    worst = max((e if math.isfinite(e) else math.inf for e in errors), default=None)
    level = level_of(proof.numerics, proof.candidate.built.toolchain)
    judge = proof.judged_by.partition(" ")[0] or "-"
    count = _counted(proof, program, target) if counted and worst is not None else None
    return Row(name, target.name, cpu, engine, level, worst, judge, count, seconds, proof.why_not_further)


_uncounted: set[str] = set()
"""engines of which counting has failed: it fails for every model alike"""


def _counted(proof: Verified, program: Program, target: Target) -> int | None:
    """Of one inference on the first sample; None, with the reason on standard error, where nothing here can count."""
    step = proof.candidate.step
    if step.engine in _uncounted:
        return None
    members = {name: memoryview(path.read_bytes()) for name, path in proof.candidate.built.members.items()}
    feeds = proof.reference.fed[0] if proof.reference is not None else {}
    try:
        found = instructions.count_members(step.engine, members, program.signature, step.variant, target, feeds)
    except NeocError as error:
        _uncounted.add(step.engine)
        print(f"{step.engine}: {error}", file=sys.stderr)
        return None
    return found.count


def refused(folder: Path) -> str:
    """What neoc says of SVE code on a core without SVE, before anything of it is run. Raises AssertionError."""
    model, data = torch_models.pnet(folder)
    options = CompileOptions(data=data, use_cache=False, engines=("tvm",), pairs=(("tvm.sve", "on"),))
    artifact = compile_model(model, "graviton3", options, output=folder / "sve.neoc")
    try:
        open_artifact(artifact.path, options={"executor": "qemu:cortex-a72"}).close()
    except WrongDevice as error:
        return str(error)
    raise AssertionError("SVE code was opened on a core without SVE")


def _line(row: Row) -> str:
    error = "-" if row.relative is None else "0" if row.relative == 0 else f"{row.relative:.1e}"
    count = "-" if row.instructions is None else f"{row.instructions:,}"
    cells = (row.model, row.target, row.cpu, row.engine, row.level, error, row.reference, count, f"{row.seconds:.0f}")
    return f"| {' | '.join(cells)} |"


def main() -> int:
    parser = argparse.ArgumentParser(description="real models compiled for ARM chips, run by qemu as those chips")
    parser.add_argument("models", nargs="*", help="only those whose name begins so")
    parser.add_argument("--target", action="append", help=f"repeatable; default: {', '.join(TARGETS)}")
    parser.add_argument("--no-counts", action="store_true", help="count no instructions")
    parser.add_argument("--json", type=Path, help="the rows as JSON")
    arguments = parser.parse_args()
    begin = time.monotonic()
    try:
        found = guest.prepare(lambda line: print(line, file=sys.stderr))
    except NeocError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    print(f"qemu {found.qemu_version}; file system ready after {time.monotonic() - begin:.0f} s\n", flush=True)
    chosen = [s for s in subjects() if not arguments.models or s.name.startswith(tuple(arguments.models))]
    rows: list[Row] = []
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", flush=True)
    for subject in chosen:
        with tempfile.TemporaryDirectory(prefix="neoc-emulated-") as scratch:
            for row in measure(subject, arguments.target or TARGETS, Path(scratch), not arguments.no_counts):
                rows.append(row)
                print(_line(row), flush=True)
                if not row.ok:
                    print(row.why, file=sys.stderr)
    if not arguments.models:
        with tempfile.TemporaryDirectory(prefix="neoc-emulated-") as scratch:
            print(f"\nSVE code for graviton3 under -cpu cortex-a72: {refused(Path(scratch))}")
    spent = os.times()
    processor = spent.user + spent.system + spent.children_user + spent.children_system
    print(f"\n{len(rows)} rows, {sum(row.ok for row in rows)} within tolerance")
    print(f"{time.monotonic() - begin:.0f} s, {processor:.0f} s of processor time")
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    return 0 if rows and all(row.ok for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
