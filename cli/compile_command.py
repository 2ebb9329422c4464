"""neoc compile MODEL --target NAME ..."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neoc.cli import arguments, console
from neoc.cli.job import Ticket, bounded
from neoc.compile.errors import NeocError, UsageError

if TYPE_CHECKING:
    from neoc.compile.artifact import Artifact
    from neoc.compile.options import CompileOptions


def command(
    model: Annotated[str, typer.Argument(help="The model to compile.", show_default=False)] = "",
    target: Annotated[list[str] | None, typer.Option("--target", help="Chip or Neo device name; repeatable.")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Artifact file, or a folder.")] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", help="NAME=1,3,224,224[:float32]: bind a shape; repeatable."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="An .npz of realistic inputs, arrays named like the inputs.")
    ] = None,
    bucket: Annotated[
        list[str] | None,
        typer.Option("--bucket", help="DIM=32,64,128: compile for these sizes of an open dimension; repeatable."),
    ] = None,
    lengths: Annotated[
        list[str] | None,
        typer.Option("--lengths", help="[DIM=]FILE: lengths to plan buckets for, one `length [count]` a line."),
    ] = None,
    buckets: Annotated[
        int | None, typer.Option("--buckets", help="How many buckets a dimension may have; 4 for --lengths.")
    ] = None,
    pad: Annotated[
        list[str] | None, typer.Option("--pad", help="NAME=VALUE: what an input is padded with; 0 by default.")
    ] = None,
    static: Annotated[
        list[str] | None,
        typer.Option("--static", help="DIM=80,...|data: these very sizes get a variant of their own; repeatable."),
    ] = None,
    precision: Annotated[str, typer.Option(help="fp32 (exact) or bf16.")] = "fp32",
    optimize: Annotated[
        str, typer.Option(help="latency (steady requests), cold-start (a new process to its first result) or size.")
    ] = "latency",
    tolerance: Annotated[float | None, typer.Option(help="Relative error allowed per output; 1e-4 in fp32.")] = None,
    engine: Annotated[list[str] | None, typer.Option("--engine", help="Only these engines; repeatable.")] = None,
    option: Annotated[
        list[str] | None, typer.Option("--option", help="KEY=VALUE for front end or engine; repeatable.")
    ] = None,
    process: Annotated[
        Path | None, typer.Option(help="YAML or JSON with preprocess: and postprocess: sections (docs/kernels.md).")
    ] = None,
    raw: Annotated[
        Path | None, typer.Option(help="Raw items to check on: a folder of images, a table, .jsonl, .npz.")
    ] = None,
    fold: Annotated[
        str, typer.Option(help="What of preprocess moves into the graph: off, exact (no bit changes), near (rounding).")
    ] = "exact",
    job: Annotated[
        Path | None,
        typer.Option(help="A CreateCompilationJob request (JSON); preprocess and postprocess may stand beside it."),
    ] = None,
    dump: Annotated[Path | None, typer.Option(help="Write every intermediate program here.")] = None,
    threads: Annotated[int, typer.Option(help="Threads that one request may use.")] = 1,
    timeout: Annotated[float | None, typer.Option(help="Seconds that one build or check may take.")] = None,
    race_seconds: Annotated[float, typer.Option(help="Budget of the race between verified candidates.")] = 10.0,
    rewrites: Annotated[str, typer.Option(help="Exact rewrites to try: all, off, or NAME,NAME.")] = "all",
    rewrite_seconds: Annotated[
        float | None,
        typer.Option(help="Budget of the search for rewrites [default: six times --race-seconds, none below 20]."),
    ] = None,
    decision: Annotated[
        Path | None, typer.Option(help="Replay the decision of this artifact or evidence.json.")
    ] = None,
    no_reference: Annotated[
        bool, typer.Option("--no-reference", help="Never fall back to the slow reference evaluator.")
    ] = False,
    allow_vacuous: Annotated[
        bool,
        typer.Option("--allow-vacuous", help="Accept a model whose outputs did not move with the inputs."),
    ] = False,
    trust_pickle: Annotated[
        bool, typer.Option("--trust-pickle", help="Unpickle the model, which may run any code that is in it.")
    ] = False,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Build anew.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> int:
    """Compile MODEL for one or more targets, prove the result, race the candidates."""
    from neoc.compile.options import CompileOptions

    ticket = None if job is None else _ticket(job)
    if ticket is not None:
        asked = ticket.job
        framework = None if model else asked.framework
        model, target = model or asked.model, target or [asked.target]
        inputs, option = inputs or list(asked.inputs), [*(f"{k}={v}" for k, v in asked.pairs), *(option or [])]
    if not model:
        raise UsageError("no model was named", fix="neoc compile MODEL --target NAME")
    if not target:
        raise UsageError("no target was named", fix="add --target host, or a name from `neoc targets`")
    for name, value in (
        ("--timeout", timeout),
        ("--race-seconds", race_seconds),
        ("--rewrite-seconds", rewrite_seconds),
    ):
        arguments.check_positive(name, value)
    if tolerance is not None and not 0 <= tolerance < 1:
        raise UsageError(f"--tolerance must lie in [0, 1), not {tolerance}", fix="--tolerance 1e-4")
    sections = _sections(process, ticket)
    if raw is not None and not sections["preprocess"]:
        raise UsageError("--raw needs a preprocess section", where=str(raw), fix="add --process FILE")
    options = CompileOptions(
        inputs=arguments.bindings(inputs or []),
        data=data,
        precision=arguments.check_precision(precision),
        optimize=arguments.check_optimize(optimize),
        tolerance=tolerance,
        engines=tuple(engine or ()),
        pairs=arguments.pairs(option or []),
        threads=arguments.check_threads(threads),
        timeout_s=timeout,
        race_seconds=race_seconds,
        rewrites=arguments.rewrites(rewrites),
        rewrite_seconds=rewrite_seconds,
        preprocess=sections["preprocess"],
        postprocess=sections["postprocess"],
        raw_data=raw,
        fold=fold,
        dump=dump,
        decision=decision,
        reference_engine=not no_reference,
        allow_vacuous=allow_vacuous,
        bucketing=arguments.bucketing(bucket or [], lengths or [], buckets, pad or []),
        static=arguments.statics(static or []),
        trust_pickle=trust_pickle,
        use_cache=not no_cache,
        framework=None if ticket is None else framework,
    )
    if ticket is None:
        return _compile_each(model, target, output, options, as_json)
    with ticket.told() as made, bounded(ticket.job.max_runtime_s, str(job)):
        return _compile_each(model, target, output, options, as_json, ticket, made)


def _ticket(job: Path) -> Ticket:
    """The request, read; what of it means nothing here is said at once."""
    from neoc.targets.job import read_job

    request = read_job(job)
    for note in request.notes:
        console.note(f"{job.name}: {note}")
    return Ticket(request, json.loads(job.read_text()))


def _sections(process: Path | None, ticket: Ticket | None) -> dict[str, list[Any]]:
    """The steps of --process, and of the job where that names none."""
    if process is not None:
        from neoc.compile.process import read_sections

        return read_sections(process)
    if ticket is not None:
        return {"preprocess": list(ticket.job.preprocess), "postprocess": list(ticket.job.postprocess)}
    return {"preprocess": [], "postprocess": []}


def _compile_each(
    model: str,
    names: list[str],
    output: Path | None,
    options: CompileOptions,
    as_json: bool,
    ticket: Ticket | None = None,
    made: list[Artifact] | None = None,
) -> int:
    """ticket: the job that asks, whose output is a folder; what was made for it goes into `made`."""
    from neoc.compile.finished import Finished
    from neoc.targets import get_target

    targets = {name: get_target(name) for name in dict.fromkeys(names)}
    stem = Path(model).name.partition(":")[0].rsplit(".", 1)[0].removesuffix(".tar") or "model"
    read = (model, options.data, options.raw_data, options.decision)
    several = len(targets) > 1
    if output is None and ticket is not None:
        output = ticket.job.output
        several = several or (output is not None and output.suffix != ".neoc")
    places = {
        name: arguments.output_file(output, f"{stem}.{name}.neoc", several=several, sources=read) for name in targets
    }
    finished = Finished() if options.use_cache else None
    results: dict[str, Artifact | NeocError] = {}
    remembered: dict[str, str] = {}
    for name, target in targets.items():
        known = None if finished is None else finished.recall(model, target, options, places[name])
        if known is not None:
            results[name], remembered[name] = known
            continue
        from neoc.compile.pipeline import compile_model  # most of a second: only where there is something to do

        with console.Progress(enabled=True).live(f"compiling for {name}") as progress:
            try:
                made_now = compile_model(model, target, options, output=places[name], progress=progress)
                results[name] = made_now
                if finished is not None:
                    finished.keep(model, target, options, made_now)
            except NeocError as error:
                if len(targets) == 1:
                    raise
                results[name] = error
                console.error(f"{name}: {error}")
    done = [result for result in results.values() if not isinstance(result, NeocError)]
    if made is not None:
        made += done
    if as_json:
        answer: dict[str, Any] = {"model": model, "results": {n: _facts(r) for n, r in results.items()}}
        if remembered:
            answer["remembered"] = remembered
        if ticket is not None and done:
            answer["job"] = ticket.description(done[0])
        console.print_json(answer)
    else:
        _show(model, results)
        for name, when in remembered.items():
            print(f"{name}: from the cache: compiled, proven and raced {when}; --no-cache does it again")
    failed = [r.exit_status for r in results.values() if isinstance(r, NeocError)]
    return max(failed, default=0)


def _facts(result: Artifact | NeocError) -> dict[str, Any]:
    if isinstance(result, NeocError):
        return {"error": result.as_dict()}
    return {
        "artifact": str(result.path),
        "content_digest": result.manifest["content_digest"],
        "level": result.level,
        "variant": result.manifest["variants"][0]["id"],
        "manifest": result.manifest,
        "evidence": result.evidence,
    }


def _show(model: str, results: dict[str, Artifact | NeocError]) -> None:
    from neoc.cli import summary

    rows = [summary.row(name, result) for name, result in results.items()]
    console.table(f"{Path(model).name}", summary.COLUMNS, rows)
    for name, result in results.items():
        if not isinstance(result, NeocError):
            for line in summary.details(result):
                print(f"{name}: {line}" if len(results) > 1 else line)
