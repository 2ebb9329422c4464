"""neoc bench --suite NAME [--ray ADDRESS]"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from neoc.cli import arguments, console
from neoc.compile.errors import UsageError


def run_suite(
    name: str,
    file: Path | None,
    subjects: Sequence[str],
    ray: str | None,
    ledger: Path | None,
    batch: str,
    max_load: float,
    output: Path | None,
    as_json: bool,
) -> int:
    """The matrix, as one table; exit 1 where an objective is missed or a job was lost."""
    from neoc.bench import suite

    if subjects:
        raise UsageError("a suite names its own models", where=", ".join(subjects), fix="put them into neoc.toml")
    jobs = suite.read(name, file)
    if batch != "1":
        jobs = suite.with_batches(jobs, arguments.batches(batch))
    if max_load != 0.1:
        jobs = [dataclasses.replace(job, max_load=max_load) for job in jobs]
    place = None if output is None else arguments.output_file(output, "suite.json", several=False, sources=[file])
    with (
        console.Progress(enabled=True).live("measuring") as progress,
        TemporaryDirectory(prefix="neoc-suite-") as folder,
    ):
        if ray is None:
            outcomes = suite.run(jobs, Path(folder), ledger, progress)
        else:
            from neoc.bench.spread import run_on_ray

            outcomes = run_on_ray(jobs, ray, ledger, progress)
    if place is not None:
        suite.save(place, outcomes)
    if as_json:
        console.print_json({"suite": name, "outcomes": outcomes})
    else:
        columns, rows = suite.table(outcomes)
        console.table(f"suite {name}", columns, rows)
    for outcome in outcomes:
        for what, why in outcome["lost"].items():
            console.note(f"lost: {suite.Job.from_dict(outcome['job']).name}: {what}: {why}")
    missed = any(
        "MISSED" in suite.objective(suite.Job.from_dict(o["job"]), result)
        for o in outcomes
        for result in (o["record"] or {"results": []})["results"]
    )
    return 1 if missed or any("job" in o["lost"] for o in outcomes) else 0
