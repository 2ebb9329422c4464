"""neoc recommend MODEL --slo p99=20ms --rate 100"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from neoc.cli import arguments, console
from neoc.compile.errors import UsageError


def command(
    model: Annotated[Path, typer.Argument(help="The model's source file, or an artifact of it.", show_default=False)],
    slo: Annotated[str, typer.Option(help="The objective: p99=20ms.")],
    rate: Annotated[float, typer.Option(help="Requests per second to be served.")],
    ledger: Annotated[Path, typer.Option(help="What neoc bench --ledger wrote.")] = Path("ledger.jsonl"),
    prices: Annotated[Path | None, typer.Option(help="Your prices (TOML); default: neoc's example.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> int:
    """The cheapest measured way to hold an objective at a rate. Exit 1: nothing that was measured holds it."""
    from neoc.bench import ledger as book
    from neoc.bench import recommend as advice

    arguments.check_positive("--rate", rate)
    percentile, bound = arguments.slo(slo)
    digest, work = _model(model)
    known = book.read(ledger)
    for bad in known.bad:
        console.note(f"ledger: {ledger}:{bad.number}: {bad.why}")
    found = advice.recommend(digest, known, (percentile, bound or 0.0), rate, advice.read_prices(prices), work)
    if as_json:
        console.print_json(found)
    else:
        _show(found, slo)
    return 0 if found["measured"] else 1


def _model(path: Path) -> tuple[str, tuple[int, int] | None]:
    """Digest of the source and what one inference does. Raises UsageError, InvalidModel."""
    from neoc.bench import record, roofline
    from neoc.bench.subjects import Subject
    from neoc.compile import inputs
    from neoc.compile.artifact import Artifact, is_artifact
    from neoc.compile.frontends import load

    if not path.is_file():
        raise UsageError("there is no such model", where=str(path), fix="name a model or a .neoc file")
    if is_artifact(path):
        artifact = Artifact.open(path)
        subject, program, digest = (
            Subject(str(path), path),
            artifact.program(),
            artifact.manifest["provenance"]["sha256"],
        )
    else:
        subject, program, digest = Subject(str(path), path, "onnxruntime"), load(path, {}), record.file_digest(path)
    done = roofline.work(subject, inputs.generate(program, 0)[0])
    return digest, None if done is None else (done.flops, done.bytes)


def _show(found: dict[str, Any], slo: str) -> None:
    currency = found["currency"]
    rows: list[tuple[Any, ...]] = [
        (
            row["target"],
            row["engine"],
            row["level"],
            f"{row['capacity']:.4g}/s",
            "-" if row["replicas"] is None else row["replicas"],
            "no price" if row["cost"] is None else f"{row['cost']:.4g} {currency}",
            row["how"] if row["replicas"] is not None else "does not hold the objective",
            row["cpu"] or row["machine"],
        )
        for row in (*found["measured"], *found["unfit"])
    ]
    columns = ("target", "engine", "level", "one replica", "replicas", "cost", "known by", "machine")
    best = found["measured"][0] if found["measured"] else None
    words = (
        "nothing that was measured holds it: neoc bench MODEL --ledger FILE measures"
        if best is None
        else f"recommended: {best['replicas']} x {best['engine']} on {best['target']}"
    )
    console.table(f"measured, {slo} at {found['rate']:g}/s", columns, rows, words)
    bounds = [
        (
            row["target"],
            "unknown" if row["bound_s"] is None else f"at least {console.seconds(row['bound_s'] * 1e9)}",
            "-" if row["replicas"] is None else f"at least {row['replicas']}",
            "-" if row["cost"] is None else f"at least {row['cost']:.4g} {currency}",
            row["why"],
        )
        for row in found["modelled"]
    ]
    headings = ("target", "one inference", "replicas", "cost", "remark")
    console.table("modelled, never measured for this model", headings, bounds)
