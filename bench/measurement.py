"""`neoc bench`: subjects in, one record out. The straight line from arguments to verdicts."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neoc.bench import record, roofline, runs, scenarios, verdict
from neoc.bench.runs import TWIN, Measured, Setting
from neoc.bench.scenarios import Load, Scenario
from neoc.bench.subjects import Opened, Subject, open_subject, signature_of
from neoc.compile import inputs, parity
from neoc.compile.contracts import Feeds
from neoc.compile.errors import NeocError, UsageError
from neoc.compile.measure import LoadWatch, fingerprint
from neoc.compile.worker import KEPT_FEEDS
from neoc.targets import peaks

PACKAGES = ("onnxruntime", "openvino", "apache-tvm", "torch", "numba", "mlcommons_loadgen")
"""whose versions stand in every record"""

LOOK_S, QUIET = 0.5, 0.1
"""how long, and for what share of the CPU, the machine is looked at before its peaks are measured"""
Progress = Callable[[str, str], None]


@dataclass(frozen=True)
class BenchOptions:
    scenario: str = "single-stream"
    data: Path | None = None
    threads: int = 1
    seconds: float = 10.0
    """driving time of one set of blocks, all subjects together"""
    blocks: int = verdict.MIN_BLOCKS
    sets: int | None = None
    """None: a second one where the first shows a difference"""
    batch: int = 1
    latency_s: float | None = None
    percentile: float = 0.99
    concurrency: int = 1
    trace: Path | None = None
    max_load: float = 0.1
    floors: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """metric -> what the ledger knows of A against A here (log)"""
    footprint: bool = True
    pipeline: bool = False
    """drive raw items through the artifact's pre-processing, the model and its post-processing"""
    open: Callable[[Subject, int], Opened] = open_subject


def bench(subjects: Sequence[Subject], options: BenchOptions, progress: Progress) -> dict[str, Any]:
    """Measure, judge every subject against the first, and say it all in a JSON-able record (record.py).

    Raises UsageError where the subjects' inputs differ or the scenario lacks what it needs; what the first subject
    raises; MissingTool where the scenario's driver is not installed.
    """
    chosen = scenarios.scenario("trace" if options.trace else options.scenario)
    check(chosen, options)
    who = {subject.text: record.identity(subject, options.threads) for subject in subjects}
    for other in subjects[1:]:
        same_inputs(subjects[0], other)
    also = _raw(subjects, options) if options.pipeline else {}
    samples = [] if options.pipeline else prepare(subjects[0], options)
    load, samples = _load(options, samples, subjects[0])
    if options.footprint and chosen.name == "single-stream":
        measure_peaks(progress)
    setting = Setting(
        chosen, samples, _stint(load, chosen, len(subjects) + 1, options), options.threads, options.blocks,
        options.seconds, options.max_load, open=options.open, also=also,
    )  # fmt: skip
    found = runs.measure(subjects, setting, progress)
    if options.sets != 1 and (options.sets == 2 or runs.needs_confirmation(found, options.floors)):
        entrants = {s.text: s for s in subjects} | {subjects[0].text + TWIN: subjects[0]}
        runs.add_set(found, entrants, setting, 1, progress)
    agreement, probes = _last_look(subjects, samples, found, options, also, progress)
    return _assemble(found, who, subjects, samples, options, load, agreement, probes)


def check(chosen: Scenario, options: BenchOptions) -> None:
    """Raises UsageError for a scenario that lacks what it needs, before anything is started."""
    if chosen.name == "trace" and options.trace is None:
        raise UsageError("the trace scenario needs a trace", fix="--trace FILE.csv")
    if chosen.name == "server" and options.latency_s is None:
        raise UsageError(
            "the server scenario needs a latency bound",
            why="it looks for the highest rate at which a bound holds",
            fix="--slo p99=20ms",
        )


def _raw(subjects: Sequence[Subject], options: BenchOptions) -> dict[str, Any]:
    """Options for every driver of a --pipeline run. Raises UsageError for what takes no raw items."""
    plain = [subject.label for subject in subjects if subject.engine is not None]
    if plain:
        raise UsageError(
            "--pipeline drives artifacts",
            where=", ".join(plain),
            why="an engine on a plain model has no pre-processing to measure",
            fix="compile the model with its steps and name the artifact",
        )
    if options.data is None or options.trace is not None:
        raise UsageError(
            "--pipeline needs the raw items", fix="--data FOLDER of images, a table, or token lists, and no --trace"
        )
    return {"raw": str(options.data.resolve()), "raw_batch": options.batch}


# ---- what is fed ---------------------------------------------------------------------------


def prepare(subject: Subject, options: BenchOptions) -> list[dict[str, np.ndarray]]:
    """The user's data, else made-up inputs; in batches where asked. Raises InvalidInput, UsageError."""
    if options.data is not None:
        samples = inputs.load_data(options.data, signature_of(subject))
    else:
        samples = inputs.generate(program_of(subject), 0)
    return batched(samples, options.batch, subject)[:KEPT_FEEDS]


def program_of(subject: Subject) -> Any:
    from neoc.compile.frontends import load

    if subject.engine is not None:
        return load(subject.path, {})
    from neoc.compile.artifact import Artifact

    return Artifact.open(subject.path).program()


def batched(samples: Sequence[Feeds], batch: int, subject: Subject) -> list[dict[str, np.ndarray]]:
    """Feeds of `batch` items along the first axis, taken round and round from `samples`.

    Samples that hold that many already are left alone. Raises UsageError where the model's first dimension is fixed.
    """
    signature = signature_of(subject)
    first = {spec.name: spec.shape[0] for spec in signature.inputs if spec.shape}
    sizes = {int(np.shape(feed[name])[0]) for feed in samples for name in first}
    if batch == 1 or sizes == {batch}:
        return [dict(feed) for feed in samples]
    fixed = {name: dim for name, dim in first.items() if isinstance(dim, int) and dim != batch}
    if fixed or len(first) < len(signature.inputs) or sizes != {1}:
        name, dim = next(iter(fixed.items()), (next(iter(first), "?"), "scalar or already batched"))
        raise UsageError(
            f"{subject.label} cannot be fed batches of {batch}",
            where=f"input {name!r}",
            why=f"its first dimension is {dim}",
            fix=f"compile it for that batch: neoc compile MODEL --input {name}={batch},...",
        )
    return [
        {name: np.concatenate([samples[(start + i) % len(samples)][name] for i in range(batch)]) for name in first}
        for start in range(len(samples))
    ]


def same_inputs(first: Subject, other: Subject) -> None:
    """Raises UsageError where two subjects do not take the same inputs."""
    a, b = ({(spec.name, spec.dtype) for spec in signature_of(s).inputs} for s in (first, other))
    if a != b:
        raise UsageError(
            "the subjects take different inputs",
            where=f"{first.label}, {other.label}",
            why=f"{sorted(a)} and {sorted(b)}",
            fix="compare subjects made from one model",
        )


def _load(
    options: BenchOptions, samples: list[dict[str, np.ndarray]], subject: Subject
) -> tuple[Load, list[dict[str, np.ndarray]]]:
    load = Load(
        batch=options.batch,
        latency_s=options.latency_s,
        percentile=options.percentile,
        concurrency=options.concurrency,
    )
    if options.trace is None:
        return load, samples
    from neoc.bench.replay import read_trace, samples_by_length

    arrivals, lengths = read_trace(options.trace)
    samples, index = samples_by_length(samples, lengths, signature_of(subject), KEPT_FEEDS)
    return dataclasses.replace(load, arrivals=arrivals, lengths=index), samples


def _stint(load: Load, chosen: Scenario, subjects: int, options: BenchOptions) -> Load:
    """A long stint gets its share of the time: a set has two of each subject in each block."""
    if chosen.short or load.arrivals:
        return load
    return dataclasses.replace(load, stint_s=options.seconds / (2 * subjects * options.blocks))


def measure_peaks(progress: Progress) -> None:
    """The roof of this machine, once, and only while nothing else runs: it is kept, and a busy machine's is too low."""
    if peaks.cached() is not None:
        return
    watch = LoadWatch()
    time.sleep(LOOK_S)
    if watch.read().others <= QUIET:
        progress("peaks", "of this machine, once: a few seconds")
        peaks.measure()


# ---- what else is asked of open subjects ---------------------------------------------------


def _last_look(
    subjects: Sequence[Subject],
    samples: Sequence[Feeds],
    found: Measured,
    options: BenchOptions,
    also: Mapping[str, Any],
    progress: Progress,
) -> tuple[dict[str, str], dict[str, dict[str, Any]]]:
    """Do the subjects compute the same; and the counters around a short run of each. In processes of their own."""
    agreement: dict[str, str] = {}
    probes: dict[str, dict[str, Any]] = {}
    wanted: list[dict[str, np.ndarray]] | None = None
    for subject in subjects:
        if subject.text in found.lost:
            continue
        progress("check", subject.label)
        try:
            opened = options.open(subject, options.threads)
        except NeocError as error:
            found.lost[subject.text] = str(error)
            continue
        try:
            drive = scenarios.drive_of(opened, samples, also)
            got = [opened.session.run(sample) for sample in samples]
            if not got:  # raw items: `neoc compile` has proven them
                agreement[subject.text] = ""
                probes[subject.text], _ = drive("neoc.bench.pipeline:stages", {})
            elif wanted is None:
                wanted, agreement[subject.text] = got, "the first"
            else:
                reports = parity.compare_all(got, wanted, parity.RTOL["fp32"], dict.fromkeys(wanted[0], True))
                agreement[subject.text] = "agrees" if all(r.ok for r in reports) else "differs"
            if options.footprint:
                typical = found.runs(subject.text, valid_only=False)[-1].warm_up["typical_ns"]
                facts, _ = drive("neoc.bench.footprint:probe", {"typical_ns": typical})
                probes.setdefault(subject.text, {}).update(facts)
        except NeocError as error:
            found.lost[subject.text] = str(error)
        finally:
            opened.close()
    return agreement, probes


# ---- the record ----------------------------------------------------------------------------


def _assemble(
    found: Measured,
    who: Mapping[str, Mapping[str, Any]],
    subjects: Sequence[Subject],
    samples: Sequence[Feeds],
    options: BenchOptions,
    load: Load,
    agreement: Mapping[str, str],
    probes: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    family = verdict.adjust(record.verdicts(found, options.floors))
    results = []
    for subject in subjects:
        if not found.runs(subject.text, valid_only=False):
            continue
        row = record.result_of(found, subject.text, who[subject.text], options.floors)
        row["agrees"] = agreement.get(subject.text, "")
        row["footprint"] = dict(probes.get(subject.text, {}))
        row["stages"] = row["footprint"].pop("stages", None)
        row["roofline"] = _roofline(subject, samples, row, options)
        row["verdicts"] = {
            metric.name: family[f"{subject.text}/{metric.name}"].as_dict()
            for metric in found.scenario.metrics
            if f"{subject.text}/{metric.name}" in family
        }
        row["ratio_to_first"] = _ratio(found, subject.text)
        results.append(row)
    return {
        "format": record.FORMAT,
        "created": record.now(),
        "scenario": found.scenario.name,
        "load": record.load_facts(load) | ({"pipeline": True} if options.pipeline else {}),
        "threads": options.threads,
        "max_load": options.max_load,
        "machine": fingerprint(PACKAGES),
        "inputs": [spec.as_dict() for spec in signature_of(subjects[0]).inputs],
        "data": None
        if options.data is None
        else {"name": options.data.name, "sha256": record.data_digest(options.data), "samples": len(samples)},
        "noise": noise(found),
        "results": results,
        "lost": dict(found.lost),
    }


def _ratio(found: Measured, name: str) -> dict[str, Any] | None:
    """Time relative to the first subject, by the scenario's first metric; None for the first itself."""
    if name == found.names[0]:
        return None
    metric = found.scenario.metrics[0].name
    seen = found.effect(found.names[0], name, metric)
    if seen is None:
        return None
    facts = seen.as_dict()
    low, high = facts["interval"]
    return {"ratio": facts["ratio"], "low": low, "high": high, "blocks": seen.blocks, "confidence": verdict.CONFIDENCE}


def _roofline(
    subject: Subject, samples: Sequence[Feeds], row: Mapping[str, Any], options: BenchOptions
) -> dict[str, Any] | None:
    """By the median of one request at a time; other scenarios wait in queues, and a queue is no FLOP."""
    median = row["percentiles_ns"].get("p50")
    if options.scenario != "single-stream" or options.trace or not median or not options.footprint or not samples:
        return None
    done = roofline.work(subject, samples[0])
    return None if done is None else roofline.place(done, median / 1e9, row["precision"], options.threads)


def noise(found: Measured) -> str:
    """What a reader should know before trusting the figures; empty where nothing stands out."""
    notes = []
    voided = [block for block in found.blocks if block.void]
    if voided:
        notes.append(f"{len(voided)} of {len(found.blocks)} blocks are void: {voided[-1].void}")
    others = max((block.load.others for block in found.valid), default=0.0)
    if others > 0.1:
        notes.append(f"other programs took up to {others:.0%} of the CPU time")
    slow = [name for name in found.names if any(not run.warm_up["steady"] for run in found.runs(name, False))]
    if slow:
        notes.append(f"no steady state was reached by {', '.join(slow)}")
    return "; ".join(notes)
