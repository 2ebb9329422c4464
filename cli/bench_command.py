"""neoc bench SUBJECT..."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from neoc.cli import arguments, console, summary
from neoc.compile.errors import UsageError


def command(
    subjects: Annotated[list[str], typer.Argument(help="ARTIFACT or ENGINE:MODEL.", show_default=False)],
    scenario: Annotated[str, typer.Option(help="single-stream.")] = "single-stream",
    data: Annotated[Path | None, typer.Option(help="An .npz of realistic inputs.")] = None,
    threads: Annotated[int, typer.Option(help="Threads per request.")] = 1,
    seconds: Annotated[float, typer.Option(help="Measuring time in all.")] = 10.0,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write the record here (JSON).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> int:
    """Latency of artifacts and engines, interleaved in one run. ENGINE:MODEL is the engine as its own docs have it."""
    from neoc.bench.latency import single_stream
    from neoc.bench.subjects import parse

    if scenario != "single-stream":
        raise UsageError(
            f"scenario {scenario!r} is not there yet",
            why="only single-stream is measured today",
            fix="--scenario single-stream",
        )
    arguments.check_positive("--seconds", seconds)
    parsed = [parse(text) for text in subjects]
    if len({subject.text for subject in parsed}) < len(parsed):
        raise UsageError("one subject is named twice", fix="name each subject once")
    place = (
        None
        if output is None
        else arguments.output_file(output, "bench.json", several=False, sources=[s.path for s in parsed])
    )
    with console.Progress(enabled=True).live("measuring") as progress:
        record = single_stream(parsed, data, arguments.check_threads(threads), seconds, progress)
    if place is not None:
        _write(place, record)
    if as_json:
        console.print_json(record)
    else:
        show(record)
    return 0


def _write(place: Path, record: dict[str, Any]) -> None:
    from neoc.compile.files import write_atomically

    write_atomically(place, json.dumps(record, indent=1).encode())


def show(record: dict[str, Any]) -> None:
    rows = []
    for result in record["results"]:
        taken = result["percentiles_ns"]
        ratio = result["ratio_to_first"]
        rows.append(
            (
                result["subject"],
                result["n"],
                *(console.seconds(taken[p]) if taken[p] else "n too small" for p in ("p50", "p90", "p99")),
                summary.interval(ratio) if ratio else "1",
                console.size(result["memory"]["rss"]),
            )
        )
    rows += [(name, "-", *["-"] * 5) for name in record["lost"]]
    columns = ("subject", "n", "p50", "p90", "p99", "time relative to the first", "resident")
    machine = record["machine"]["machine"]
    remark = f"{machine['cpu']}, {record['threads']} threads; interleaved in one run, one process a subject"
    console.table(record["scenario"], columns, rows, "; ".join(filter(None, (remark, record["noise"]))))
    for name, why in record["lost"].items():
        print(f"lost: {name}: {why}")
