"""neoc verify SUBJECT SUBJECT --data FILE.npz [--metric module:function]"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neoc.cli import console
from neoc.compile.errors import UsageError


def command(
    subjects: Annotated[list[str], typer.Argument(help="Two of ARTIFACT or ENGINE:MODEL.", show_default=False)],
    data: Annotated[Path, typer.Option(help="An .npz of inputs, and labels for the metric.")],
    metric: Annotated[
        str | None, typer.Option(help="module:function(outputs, arrays) -> float; outputs and arrays are dicts.")
    ] = None,
    tolerance: Annotated[float, typer.Option(help="Relative error allowed per output.")] = 1e-4,
    drop: Annotated[float, typer.Option(help="How much the metric may fall from the first subject's.")] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> int:
    """Two subjects on the user's own data: outputs compared, or a metric of the user's."""
    from neoc.bench.agreement import compare_subjects
    from neoc.bench.subjects import parse

    if len(subjects) != 2:
        raise UsageError(
            f"verify compares two subjects, not {len(subjects)}", fix="neoc verify FIRST SECOND --data FILE.npz"
        )
    first, second = (parse(text) for text in subjects)
    with console.Progress(enabled=True).live("verifying") as progress:
        verdict = compare_subjects(first, second, data, tolerance, metric, drop, progress)
    if as_json:
        console.print_json(verdict)
        return 0 if verdict["ok"] else 1
    if metric:
        rows = [(text, f"{value:.6g}") for text, value in verdict["metric"].items()]
        console.table(f"{metric} on {data.name}", ("subject", "value"), rows)
    outputs = [
        (o["name"], "vacuous" if o["vacuous"] else "ok" if o["ok"] else "DIFFERS", o["relative"], o["why"])
        for o in verdict["outputs"]
    ]
    title = f"{second.label} against {first.label}, {verdict['samples']} samples"
    console.table(title, ("output", "verdict", "relative error", "remark"), outputs)
    print(f"verdict: {verdict['verdict']}")
    return 0 if verdict["ok"] else 1
