"""neoc bench SUBJECT..."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neoc.cli import arguments, bench_tables, console
from neoc.compile.errors import UsageError

if TYPE_CHECKING:
    from neoc.bench.measurement import BenchOptions
    from neoc.bench.subjects import Subject

SubjectsArgument = Annotated[
    list[str] | None, typer.Argument(help="ARTIFACT or ENGINE:MODEL; none with --suite.", show_default=False)
]


def command(
    subjects: SubjectsArgument = None,
    scenario: Annotated[str, typer.Option(help="single-stream, multi-stream, server, offline.")] = "single-stream",
    data: Annotated[Path | None, typer.Option(help="An .npz of realistic inputs.")] = None,
    threads: Annotated[int, typer.Option(help="Threads per request.")] = 1,
    batch: Annotated[str, typer.Option(help="Items per call: 1,8,32 measures each.")] = "1",
    seconds: Annotated[float, typer.Option(help="Driving time of one set of blocks, in all.")] = 10.0,
    blocks: Annotated[int, typer.Option(help="Fresh process runs of each subject in a set.")] = 6,
    sets: Annotated[int | None, typer.Option(help="1, or 2; by default 2 where 1 shows a difference.")] = None,
    slo: Annotated[str | None, typer.Option(help="server: the bound, p99=20ms.")] = None,
    concurrency: Annotated[int, typer.Option(help="server, trace: requests in the session at once.")] = 1,
    trace: Annotated[Path | None, typer.Option(help="Replay arrival times and lengths (CSV).")] = None,
    pipeline: Annotated[bool, typer.Option("--pipeline", help="Raw items through pre, model and post.")] = False,
    suite: Annotated[str | None, typer.Option(help="Run this suite of neoc.toml.")] = None,
    suite_file: Annotated[Path | None, typer.Option(help="Where suites stand; default: neoc.toml.")] = None,
    ray: Annotated[str | None, typer.Option(help="Spread a suite over the Ray cluster at this address.")] = None,
    ledger: Annotated[Path | None, typer.Option(help="Append the results here (JSON lines).")] = None,
    on: Annotated[str | None, typer.Option(help="Measure on this device (`neoc device add`), whole.")] = None,
    max_load: Annotated[float, typer.Option(help="Share of the CPU that others may take before a run is void.")] = 0.1,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write the record here (JSON).")] = None,
    layout: Annotated[str, typer.Option("--format", help="Of the file: neoc, or pytest-benchmark.")] = "neoc",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> int:
    """Artifacts and engines under load, by fresh process runs in turns. ENGINE:MODEL: as its own docs have it."""
    if suite is not None:
        from neoc.cli.bench_suite import run_suite

        if on is not None:
            raise UsageError("a suite runs here, or on a Ray cluster", fix="leave out --suite, or --on")

        return run_suite(suite, suite_file, subjects or [], ray, ledger, batch, max_load, output, as_json)
    if ray is not None:
        raise UsageError("--ray spreads the jobs of a suite", why="no suite is named", fix="--suite NAME --ray ADDRESS")
    if not subjects:
        raise UsageError("nothing is named to be measured", fix="neoc bench model.neoc onnxruntime:model.onnx")
    from neoc.bench.subjects import parse

    parsed = [parse(text) for text in subjects]
    if len({subject.text for subject in parsed}) < len(parsed):
        raise UsageError("one subject is named twice", fix="name each subject once; neoc measures A against A itself")
    place = (
        None
        if output is None
        else arguments.output_file(output, "bench.json", several=False, sources=[s.path for s in parsed])
    )
    from neoc.bench.measurement import BenchOptions

    bound = arguments.slo(slo)
    sizes = arguments.batches(batch)
    if layout not in ("neoc", "pytest-benchmark"):
        raise UsageError(f"unknown --format {layout!r}", fix="neoc or pytest-benchmark")
    if place is not None and len(sizes) > 1:
        raise UsageError(
            "one file holds one record", why=f"--batch {batch} makes {len(sizes)}", fix="one batch size a file"
        )
    options = BenchOptions(
        scenario=scenario,
        data=data,
        threads=arguments.check_threads(threads),
        seconds=arguments.check_positive("--seconds", seconds) or seconds,
        blocks=_at_least("--blocks", blocks, 1),
        sets=None if sets is None else _at_least("--sets", sets, 1),
        concurrency=_at_least("--concurrency", concurrency, 1),
        latency_s=bound[1],
        percentile=bound[0],
        trace=trace,
        max_load=arguments.check_positive("--max-load", max_load) or max_load,
        pipeline=pipeline,
    )
    records = []
    with _measuring(parsed, options, ledger, on) as measure:
        for size in sizes:
            found = measure(size)
            if place is not None:
                _write(place, found, layout)
            if not as_json:
                bench_tables.show(found)
            records.append(found)
    if as_json:
        console.print_json(records[0] if len(records) == 1 else {"records": records})
    # Last: what was measured has been told, whatever happens to the ledger.
    if ledger is not None:
        for found in records:
            _append(ledger, found)
    return 0


def _at_least(name: str, value: int, least: int) -> int:
    if value < least:
        raise UsageError(f"{name} must be at least {least}, not {value}", fix=f"{name} {least}")
    return value


@contextmanager
def _measuring(
    subjects: list[Subject], options: BenchOptions, ledger: Path | None, on: str | None
) -> Iterator[Callable[[int], dict[str, Any]]]:
    """What measures with a batch size: here, or on a device over one connection."""
    from neoc.bench.measurement import bench

    def asked(batch: int, digest: str, target: str) -> BenchOptions:
        floors = {} if ledger is None else _floors(ledger, options, digest, target)
        return dataclasses.replace(options, batch=batch, floors=floors)

    if on is None:
        digest, target = _here() if ledger is not None and ledger.exists() else ("", "")
        with console.Progress(enabled=True).live("measuring") as progress:
            yield lambda batch: bench(subjects, asked(batch, digest, target), progress)
        return
    from neoc.bench.on_device import bench_on, send
    from neoc.bench.record import identity
    from neoc.targets.remote.book import Book
    from neoc.targets.remote.link import DeviceWorker

    book = Book.of_user()
    with (
        DeviceWorker(book.get(on), book.known_hosts) as worker,
        console.Progress(enabled=True).live(f"measuring on {on}") as progress,
    ):
        sent = send(worker, subjects, options, progress)
        digest, target = worker.facts["fingerprint"]["digest"], identity(subjects[0], options.threads)["target"]
        yield lambda batch: bench_on(worker, sent, asked(batch, digest, target), progress)


def _here() -> tuple[str, str]:
    """This machine as the ledger knows it: digest of its fingerprint, name of its target."""
    from neoc.compile import registry
    from neoc.compile.measure import fingerprint

    return fingerprint()["digest"], registry.resolve_target("host").name


def _append(ledger: Path, found: dict[str, Any]) -> None:
    from neoc.bench import ledger as book

    entries = book.entries_of(found)
    book.append(ledger, entries)
    void = sum(result["void"] for result in found["results"])
    remark = f"; {void} void results were left out" if void else ""
    console.note(f"ledger: {len(entries)} entries appended to {ledger}{remark}")


def _floors(path: Path, options: BenchOptions, digest: str, target: str) -> dict[str, float]:
    """What the ledger knows of A against A on the machine of that digest."""
    from neoc.bench import ledger as book
    from neoc.bench.scenarios import scenario

    if not path.exists():
        return {}
    known = book.read(path)
    for bad in known.bad:
        console.note(f"ledger: {path}:{bad.number}: {bad.why}")
    name = "trace" if options.trace else options.scenario
    return {metric.name: known.floor(digest, target, metric.name) for metric in scenario(name).metrics}


def _write(place: Path, found: dict[str, Any], layout: str) -> None:
    from neoc.bench import record
    from neoc.compile.files import write_atomically

    if layout == "neoc":
        record.write(place, found)
        return
    from neoc.bench.pytest_json import to_pytest

    write_atomically(place, json.dumps(to_pytest(found), indent=1).encode())
