"""A suite over a Ray cluster: jobs go where their resource label is, one at a time on a device, into one ledger.

A node offers a device as a custom resource: `ray start --resources='{"neoc-host": 1}'`. A job takes one of
`neoc-TARGET` for its first target, so that two jobs never share a device; what comes back is appended by this process.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from neoc.bench import suite
from neoc.bench.suite import Job
from neoc.compile.errors import MissingTool, UsageError

Progress = Callable[[str, str], None]


def label(job: Job) -> str:
    return f"neoc-{job.targets[0]}"


def run_on_ray(jobs: Sequence[Job], address: str, ledger: Path | None, progress: Progress) -> list[dict[str, Any]]:
    """Outcomes in the order of the jobs. Results enter the ledger as they arrive: what was measured is never lost.

    Raises MissingTool without Ray, UsageError where the cluster cannot be reached or lacks a label.
    """
    try:
        ray: Any = import_module("ray")
    except ImportError as error:
        raise MissingTool("a suite cannot be spread", why=str(error), fix="pip install 'neoc[ray]'") from error
    try:
        ray.init(address=address, ignore_reinit_error=True, logging_level="WARNING", log_to_driver=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UsageError(
            "the Ray cluster cannot be reached", where=address, why=str(error), fix="ray status"
        ) from error
    offered = ray.cluster_resources()
    lacking = sorted({label(job) for job in jobs} - set(offered))
    devices = sorted(name for name in offered if name.startswith("neoc-"))
    if lacking:
        raise UsageError(
            "no node of the cluster has the device",
            where=", ".join(lacking),
            why=f"it offers {', '.join(devices) or 'no neoc-TARGET resource'}",
            fix=f"ray start --resources='{{\"{lacking[0]}\": 1}}' on the machine that has it",
        )
    remote = ray.remote(max_retries=0)(_on_node)
    running = {remote.options(num_cpus=1, resources={label(job): 1}).remote(job.as_dict()): job for job in jobs}
    done: dict[Job, dict[str, Any]] = {}
    while running:
        (ready,), _ = ray.wait(list(running), num_returns=1)
        job = running.pop(ready)
        try:
            outcome = ray.get(ready)
        except ray.exceptions.RayError as error:
            outcome = suite.guarded_failure(job, f"its node was lost: {str(error).splitlines()[0]}")
        progress("done", f"{job.name} on {outcome['node']}")
        suite.keep(outcome, ledger)
        done[job] = outcome
    return [done[job] for job in jobs]


def _on_node(facts: dict[str, Any]) -> dict[str, Any]:
    """Runs on the node, in an environment that has neoc."""
    ray: Any = import_module("ray")
    with tempfile.TemporaryDirectory(prefix="neoc-suite-") as folder:
        outcome = suite.guarded(Job.from_dict(facts), Path(folder), lambda stage, detail: None)
    return {**outcome, "node": ray.get_runtime_context().get_node_id()[:12]}
