"""Suites: models x targets x batch sizes x scenarios, from neoc.toml, as jobs that can run anywhere.

    [suite.nightly]
    models = ["zoo:ppocr_cls", { path = "models/det.onnx", data = "models/det.npz", input = ["x=N,3,640,640"] }]
    targets = ["host"]
    engines = ["onnxruntime", "openvino"]     # beside neoc's artifact, as their own documentation has them
    batch = [1, 8]
    scenarios = ["single-stream", "server"]
    slo = "p99=20ms"                          # the bound of `server`, and the objective of every cell

A job is one model at one batch size in one scenario: all its subjects are measured in the same blocks. A target that
this machine is not is compiled and told by its level, without a figure.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from neoc.bench import record, zoo
from neoc.bench.measurement import BenchOptions, bench
from neoc.bench.runs import TWIN
from neoc.bench.subjects import Subject
from neoc.compile import registry
from neoc.compile.contracts import Level
from neoc.compile.errors import InvalidInput, NegativeVerdict, NeocError, Unavailable
from neoc.compile.files import atomic_file
from neoc.compile.measure import fingerprint

Progress = Callable[[str, str], None]
DEFAULT_FILE = Path("neoc.toml")
KEYS = {
    "models", "targets", "engines", "batch", "scenarios", "slo", "threads", "seconds", "blocks", "race_seconds",
    "max_load", "concurrency",
}  # fmt: skip


@dataclass(frozen=True)
class Job:
    """One cell group, JSON-able: what a worker on any machine needs to know."""

    model: str
    """`zoo:NAME` or a path"""
    data: str | None
    input: tuple[str, ...]
    targets: tuple[str, ...]
    engines: tuple[str, ...]
    batch: int
    scenario: str
    slo: tuple[float, float] | None
    threads: int
    seconds: float
    blocks: int
    race_seconds: float
    max_load: float
    concurrency: int = 1
    sets: int | None = None
    """None: a second set where the first shows a difference"""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Job:
        tuples = {key: tuple(facts[key]) for key in ("input", "targets", "engines")}
        return cls(**{**facts, **tuples, "slo": None if facts["slo"] is None else tuple(facts["slo"])})

    @property
    def name(self) -> str:
        stem = self.model.removeprefix("zoo:") if self.model.startswith("zoo:") else Path(self.model).stem
        return f"{stem} b{self.batch} {self.scenario}"


# ---- reading -------------------------------------------------------------------------------


def read(name: str, path: Path | None = None) -> list[Job]:
    """The jobs of one suite. Raises InvalidInput for a file or table that cannot be used, naming what is known."""
    place = path or DEFAULT_FILE
    try:
        tables = tomllib.loads(place.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInput(
            "the suite cannot be read",
            where=str(place),
            why=error.strerror or str(error),
            fix="name it with --suite-file",
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(
            "the suite file is no TOML", where=str(place), why=str(error), fix="mend the line"
        ) from error
    suites = tables.get("suite", {})
    if name not in suites:
        raise InvalidInput(f"there is no suite {name!r}", where=str(place), fix=f"known: {', '.join(suites) or 'none'}")
    try:
        return _jobs(suites[name], place.parent)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidInput(
            "the suite cannot be used", where=f"{place}, suite.{name}", why=f"{type(error).__name__}: {error}",
            fix="docs/benchmarking.md shows one",
        ) from error  # fmt: skip


def _jobs(table: Mapping[str, Any], folder: Path) -> list[Job]:
    unknown = sorted(set(table) - KEYS)
    if unknown:
        raise ValueError(f"unknown {', '.join(unknown)}; known: {', '.join(sorted(KEYS))}")
    jobs = []
    for model in _models(table["models"], folder):
        for batch in table.get("batch", [1]):
            for scenario in table.get("scenarios", ["single-stream"]):
                jobs.append(_job(table, model, str(scenario), int(batch)))
    return jobs


def _job(table: Mapping[str, Any], model: Mapping[str, Any], scenario: str, batch: int) -> Job:
    return Job(
        model=model["path"],
        data=model.get("data"),
        input=tuple(model.get("input", ())),
        targets=tuple(table.get("targets", ["host"])),
        engines=tuple(table.get("engines", ())),
        batch=batch,
        scenario=scenario,
        slo=slo(table.get("slo")),
        threads=int(table.get("threads", 1)),
        seconds=float(table.get("seconds", 6.0)),
        blocks=int(table.get("blocks", 6)),
        race_seconds=float(table.get("race_seconds", 5.0)),
        max_load=float(table.get("max_load", 0.1)),
        concurrency=int(table.get("concurrency", 1)),
    )


def _models(wanted: Sequence[Any], folder: Path) -> list[dict[str, Any]]:
    found = []
    for one in wanted:
        table = {"path": one} if isinstance(one, str) else dict(one)
        if table["path"] == "zoo:*":
            onnx = (name for name, source in zoo.sources().items() if source.files[0].path.endswith(".onnx"))
            found += [{"path": f"zoo:{name}"} for name in onnx]
            continue
        for key in ("path", "data"):
            if table.get(key) and not table[key].startswith("zoo:"):
                table[key] = str((folder / table[key]).resolve())
        found.append(table)
    return found


def slo(text: str | None) -> tuple[float, float] | None:
    """`p99=20ms` -> (0.99, 0.02). Raises ValueError."""
    if text is None:
        return None
    found = re.fullmatch(r"p(\d+(?:\.\d+)?)=(\d+(?:\.\d+)?)(us|ms|s)", text)
    if not found:
        raise ValueError(f"slo {text!r} is not like p99=20ms")
    return float(found[1]) / 100, float(found[2]) * {"us": 1e-6, "ms": 1e-3, "s": 1.0}[found[3]]


# ---- running -------------------------------------------------------------------------------


def run_job(job: Job, folder: Path, progress: Progress) -> dict[str, Any]:
    """{'job', 'record' or None, 'levels': targets compiled alone, 'lost': target -> why}. Never half a record.

    `folder` keeps artifacts between jobs. Raises UsageError for a suite that cannot be run at all.
    """
    model, data = _fetch(job)
    subjects: list[Subject] = []
    levels: list[dict[str, Any]] = []
    lost: dict[str, str] = {}
    for target in job.targets:
        progress("compile", f"{job.name} for {target}")
        try:
            made = _compile(job, model, data, target, folder)
        except (NegativeVerdict, Unavailable) as error:
            lost[target] = str(error)
            continue
        if made.level is Level.EXECUTED:
            subjects.append(Subject(f"neoc:{target}", made.path))
        else:
            levels.append(
                record.identity(Subject(f"neoc:{target}", made.path), job.threads) | {"level": made.level.value}
            )
    source, digest = _source(model, subjects, folder)
    if source is not None:
        subjects += [Subject(engine, source, engine) for engine in job.engines]
    elif job.engines:
        lost |= dict.fromkeys(job.engines, "the model is no ONNX, and no artifact here carries its plain program")
    found = None
    if subjects:
        found = bench(subjects, options_of(job, data), progress)
        _same_model(found, digest, model.stem)
    return {"job": job.as_dict(), "record": found, "levels": levels, "lost": lost, "machine": fingerprint()}


def options_of(job: Job, data: Path | None) -> BenchOptions:
    return BenchOptions(
        scenario=job.scenario, data=data, threads=job.threads, seconds=job.seconds, blocks=job.blocks, sets=job.sets,
        batch=job.batch, latency_s=job.slo[1] if job.slo else None, percentile=job.slo[0] if job.slo else 0.99,
        concurrency=job.concurrency, max_load=job.max_load,
    )  # fmt: skip


def _fetch(job: Job) -> tuple[Path, Path | None]:
    if job.model.startswith("zoo:"):
        (entry,) = zoo.fetch([job.model.removeprefix("zoo:")])
        return entry.path, Path(job.data) if job.data else entry.data
    return Path(job.model), Path(job.data) if job.data else None


def _compile(job: Job, model: Path, data: Path | None, target: str, folder: Path) -> Any:
    from neoc.compile.options import CompileOptions
    from neoc.compile.pipeline import compile_model

    options = CompileOptions(
        inputs=_bindings(job),
        data=data if job.batch == 1 and not job.input else None,
        threads=job.threads,
        race_seconds=job.race_seconds,
    )
    folder.mkdir(parents=True, exist_ok=True)
    # Scenarios of one model and batch share the artifact.
    place = folder / f"{model.stem}.b{job.batch}.{target}.neoc"
    if place.exists():
        from neoc.compile.artifact import Artifact

        return Artifact.open(place)
    return compile_model(model, registry.resolve_target(target), options, output=place)


def _source(model: Path, artifacts: Sequence[Subject], folder: Path) -> tuple[Path | None, str]:
    """(what engines run beside the artifact, the model's digest). Of another format: the plain ONNX in the artifact."""
    if model.suffix == ".onnx":
        return model, record.file_digest(model)
    if not artifacts:
        return None, record.data_digest(model)
    from neoc.compile.artifact import Artifact

    artifact = Artifact.open(artifacts[0].path)
    place = folder / f"{artifacts[0].path.stem}.plain"
    place.mkdir(exist_ok=True)
    artifact.extract(artifact.manifest["program"], place, durable=False)
    return place / "program.onnx", str(artifact.manifest["provenance"]["sha256"])


def _bindings(job: Job) -> dict[str, Any]:
    """`x=N,3,640,640`: N is the batch size."""
    from neoc.compile.options import InputBinding

    bound = {}
    for text in job.input:
        name, _, dims = text.rpartition("=")
        shape = tuple(job.batch if d == "N" else int(d) if d.isdecimal() else d for d in dims.split(","))
        bound[name] = InputBinding(shape)
    return bound


def _same_model(found: dict[str, Any], digest: str, name: str) -> None:
    for result in found["results"]:
        result["model"] = {"name": name, "sha256": digest}


def level_entry(identity: Mapping[str, Any], job: Job, machine: Mapping[str, Any]) -> dict[str, Any]:
    """A ledger entry that says how far a target was proven, and no figure."""
    from neoc.bench.ledger import ENTRY_FORMAT

    return {
        "format": ENTRY_FORMAT, "created": record.now(), "scenario": job.scenario, "threads": job.threads,
        "load": {"batch": job.batch, "concurrency": job.concurrency}, "max_load": job.max_load, "data": None,
        "machine": machine["machine"] | {"digest": machine["digest"]}, "versions": machine["versions"],
        "state": machine["state"], **identity, "runs": 0, "n": 0, "percentiles_ns": {},
        "bounds_ns": {}, "needed": {}, "metrics": {}, "histogram": None, "phases": {}, "memory": {}, "spread": 0.0,
        "floor": {}, "agrees": "", "footprint": {}, "roofline": None, "verdicts": {}, "blocks": [], "facts": {},
        "noise": "", "stages": None,
    }  # fmt: skip


def entries_of(outcome: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a job's outcome puts into the ledger."""
    from neoc.bench import ledger

    job = Job.from_dict(outcome["job"])
    entries = [level_entry(one, job, outcome["machine"]) for one in outcome["levels"]]
    return entries + (ledger.entries_of(outcome["record"]) if outcome["record"] else [])


def run(jobs: Sequence[Job], folder: Path, ledger: Path | None, progress: Progress) -> list[dict[str, Any]]:
    """Every job in turn; each one's results are in the ledger before the next begins. A job that fails loses itself."""
    outcomes = []
    for job in jobs:
        outcome = guarded(job, folder, progress)
        keep(outcome, ledger)
        outcomes.append(outcome)
    return outcomes


def guarded(job: Job, folder: Path, progress: Progress) -> dict[str, Any]:
    """`run_job`, with an error of neoc's told in the outcome."""
    try:
        return run_job(job, folder, progress)
    except NeocError as error:
        return guarded_failure(job, str(error))


def guarded_failure(job: Job, why: str) -> dict[str, Any]:
    """The outcome of a job that measured nothing."""
    failed: dict[str, Any] = {"job": job.as_dict(), "record": None, "levels": [], "lost": {"job": why}}
    return failed | {"machine": fingerprint(), "node": ""}


def keep(outcome: Mapping[str, Any], ledger: Path | None) -> None:
    from neoc.bench import ledger as book

    if ledger is not None:
        book.append(ledger, entries_of(outcome))


# ---- the table -----------------------------------------------------------------------------


def table(outcomes: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """(columns, rows): models x targets, each cell a figure with its level, the level alone, or why it is empty."""
    from neoc.bench.report import figure

    columns: list[str] = []
    rows = []
    for outcome in outcomes:
        job = Job.from_dict(outcome["job"])
        cells: dict[str, str] = {}
        for result in (outcome["record"] or {"results": []})["results"]:
            metric, value = next(iter(result["metrics"].items()))
            shown = "not found" if value["value"] is None else figure(value)
            state = "void" if result["void"] else result["level"]
            word = next((v["verdict"] for v in result["verdicts"].values()), "")
            ratio = result["ratio_to_first"]
            relative = f", x {ratio['ratio']:.2f}" if ratio else ""
            goal = objective(job, result)
            cells[result["subject"]] = " ".join(filter(None, (f"{shown} ({metric}, {state}{relative})", word, goal)))
        cells |= {one["subject"]: f"{one['level']}, not measured" for one in outcome["levels"]}
        lost = {**outcome["lost"], **((outcome["record"] or {}).get("lost", {}))}
        lost = {what: why for what, why in lost.items() if not what.endswith(TWIN)}
        cells |= {(f"neoc:{name}" if name in job.targets else name): f"lost: {why[:80]}" for name, why in lost.items()}
        columns += [name for name in cells if name not in columns]
        rows.append((job.name, cells))
    return ["model", *columns], [[name, *(cells.get(c, "-") for c in columns)] for name, cells in rows]


def objective(job: Job, result: Mapping[str, Any]) -> str:
    """Whether the suite's latency objective holds for one request at a time; empty where none is asked."""
    if job.slo is None or job.scenario in ("server", "offline"):
        return ""
    q, bound = job.slo
    value = result["percentiles_ns"].get(f"p{q * 100:g}")
    if value is None:
        return f"objective open: n too small (need {result['needed'].get(f'p{q * 100:g}', '?')})"
    return "objective held" if value <= bound * 1e9 else "objective MISSED"


def save(path: Path, outcomes: Sequence[Mapping[str, Any]]) -> None:
    import json

    with atomic_file(path) as file:
        file.write(json.dumps({"format": "neoc.suite/1", "outcomes": list(outcomes)}, indent=1).encode())


def with_batches(jobs: Sequence[Job], batches: Sequence[int]) -> list[Job]:
    """The same jobs at other batch sizes."""
    seen = list(dict.fromkeys(replace(job, batch=b) for b in batches for job in jobs))
    return sorted(seen, key=lambda job: (job.model, job.batch, job.scenario))
