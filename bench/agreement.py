"""Two subjects on the user's own data: do the outputs agree, and what does the user's metric say?"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neoc.bench.subjects import Subject, open_subject, signature_of
from neoc.compile import inputs, parity
from neoc.compile.errors import InvalidInput, UsageError

Metric = Callable[[Mapping[str, np.ndarray], Mapping[str, np.ndarray]], float]


def compare_subjects(
    first: Subject,
    second: Subject,
    data: Path,
    tolerance: float,
    metric: str | None,
    drop: float,
    progress: Callable[[str, str], None],
) -> dict[str, Any]:
    """A JSON-able verdict. With a metric it decides (`second` may fall `drop` below `first`), else the outputs do.

    Raises InvalidInput for data that does not fit, UsageError for a metric that cannot be called.
    """
    samples = inputs.load_data(data, signature_of(first))
    score = None if metric is None else load_metric(metric)
    outputs = {}
    for subject in (first, second):
        progress("run", subject.label)
        opened = open_subject(subject, threads=1)
        try:
            outputs[subject.text] = [opened.session.run(sample) for sample in samples]
        finally:
            opened.close()
    want, got = outputs[first.text], outputs[second.text]
    moved = parity.movement(want, tolerance) if len(want) > 1 else dict.fromkeys(want[0], True)
    reports = parity.compare_all(got, want, tolerance, moved)
    agree = all(report.ok and report.moved for report in reports)
    verdict: dict[str, Any] = {
        "samples": len(samples),
        "outputs": [report.as_dict() for report in reports],
        "agree": agree,
        "ok": agree,
        "verdict": "the outputs agree" if agree else "the outputs differ",
    }
    if score is not None:
        arrays = _raw_arrays(data)
        values = {text: _score(score, metric or "", stack(results), arrays) for text, results in outputs.items()}
        lost = values[first.text] - values[second.text]
        verdict["metric"] = values
        verdict["ok"] = bool(lost <= drop)
        verdict["verdict"] = f"the metric falls by {lost:.6g}, {drop:.6g} is allowed"
    return verdict


def stack(results: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Outputs of one sample as they are, of several along a new first axis."""
    if len(results) == 1:
        return dict(results[0])
    return {name: np.stack([r[name] for r in results]) for name in results[0]}


def _raw_arrays(data: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(data, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except ValueError as error:
        raise InvalidInput(
            "the data holds an array that cannot be read",
            where=data.name,
            why=str(error),
            fix="store labels as numbers or unicode strings, not as Python objects",
        ) from error


def load_metric(text: str) -> Metric:
    """`module:function`; the module may lie in the working folder. Raises UsageError."""
    module, colon, name = text.partition(":")
    if not colon:
        raise UsageError("--metric cannot be read", where=text, fix="write module:function")
    sys.path.insert(0, str(Path.cwd()))
    try:
        function = getattr(importlib.import_module(module.removesuffix(".py")), name)
    except (ImportError, AttributeError) as error:
        raise UsageError(
            "the metric cannot be loaded", where=text, why=str(error), fix="name an importable module:function"
        ) from error
    finally:
        sys.path.pop(0)
    if not callable(function):
        raise UsageError("the metric is no function", where=text, fix="name a function of (outputs, arrays)")
    return function  # type: ignore[no-any-return]


def _score(metric: Metric, name: str, outputs: Mapping[str, np.ndarray], arrays: Mapping[str, np.ndarray]) -> float:
    try:
        return float(metric(outputs, arrays))
    except Exception as error:  # the user's code: whatever it raises is theirs to read
        raise UsageError(
            "the metric failed",
            where=name,
            why=f"{type(error).__name__}: {error}",
            fix="it is called as metric(outputs, arrays): two dicts of numpy arrays by name, and returns a number",
        ) from error
