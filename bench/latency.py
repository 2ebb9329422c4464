"""The single-stream scenario: one request after the other, every subject in its own process, interleaved in one run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from neoc.bench.subjects import Opened, Subject, open_subject, signature_of
from neoc.compile import inputs
from neoc.compile.errors import NeocError, UsageError
from neoc.compile.measure import Samples, fingerprint, interleave, noise_note, ratio

PERCENTILES = (50, 90, 99)


def single_stream(
    subjects: Sequence[Subject],
    data: Path | None,
    threads: int,
    seconds: float,
    progress: Callable[[str, str], None],
) -> dict[str, Any]:
    """Latency of each subject in nanoseconds, and its ratio to the first one with a 95% interval.

    The record is JSON-able: fingerprint of the machine, per subject n, median and those percentiles that the number of
    samples supports, resident bytes of its process; `lost` names the subjects that could not be opened or run, and why.
    Raises UsageError where the subjects' inputs differ, and what the first subject raises.
    """
    signature = signature_of(subjects[0])
    for other in subjects[1:]:
        _same_inputs(subjects[0], other)
    samples = _samples(subjects[0], data)
    lost: dict[str, str] = {}
    with ExitStack() as stack:
        opened: list[Opened] = []
        for subject in subjects:
            progress("open", subject.label)
            try:
                opened.append(open_subject(subject, threads))
            except NeocError as error:
                if subject is subjects[0]:
                    raise
                lost[subject.text] = str(error)
                continue
            stack.callback(opened[-1].close)
        progress("measure", f"{len(opened)} subjects, {seconds:.0f} s in all")
        measured = interleave({one.subject.text: one.worker.timed(samples[0]) for one in opened}, budget_s=seconds)
        first = measured[subjects[0].text]
        if first.lost:
            raise UsageError(
                f"{first.name} was lost while it was measured", why=first.lost, fix="check the data, or run it alone"
            )
        lost |= {name: taken.lost for name, taken in measured.items() if taken.lost}
        rows = [
            {**_row(measured[one.subject.text], first), "memory": one.worker.memory()}
            for one in opened
            if one.subject.text not in lost
        ]
    return {
        "scenario": "single-stream",
        "threads": threads,
        "machine": fingerprint(),
        "inputs": [spec.as_dict() for spec in signature.inputs],
        "data": None if data is None else data.name,
        "noise": noise_note(measured),
        "results": rows,
        "lost": lost,
    }


def _row(taken: Samples, base: Samples) -> dict[str, Any]:
    tails = {f"p{q}": taken.percentile(q / 100) for q in PERCENTILES[1:]}
    return {
        "subject": taken.name,
        "n": taken.iterations,
        "percentiles_ns": {"p50": taken.median_ns, **{k: None if t is None else t.ns for k, t in tails.items()}},
        "spread": round(taken.spread, 4),
        "ratio_to_first": None if taken is base else ratio(taken, base).as_dict(),
    }


def _same_inputs(first: Subject, other: Subject) -> None:
    a = {(spec.name, spec.dtype) for spec in signature_of(first).inputs}
    b = {(spec.name, spec.dtype) for spec in signature_of(other).inputs}
    if a != b:
        raise UsageError(
            "the subjects take different inputs",
            where=f"{first.label}, {other.label}",
            why=f"{sorted(a)} and {sorted(b)}",
            fix="compare subjects made from one model",
        )


def _samples(subject: Subject, data: Path | None) -> list[dict[str, np.ndarray]]:
    """The user's data, else generated ones from the model or from the program that the artifact carries."""
    if data is not None:
        return inputs.load_data(data, signature_of(subject))
    from neoc.compile.frontends import load

    if subject.engine is not None:
        program = load(subject.path, {})
    else:
        from neoc.compile.artifact import Artifact

        program = Artifact.open(subject.path).program()
    return inputs.generate(program, 0)
