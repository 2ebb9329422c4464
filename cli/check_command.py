"""neoc check MODEL --target NAME ..."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from neoc.cli import arguments, console
from neoc.compile.errors import UnsupportedModel, UsageError

if TYPE_CHECKING:
    from neoc.compile.contracts import Gap


def _reason(gap: Gap) -> str:
    """The reason, with what the operator is lowered to and the vendor's error code where they are known."""
    marks = " ".join(filter(None, (gap.lowered, gap.code)))
    return f"{gap.reason} [{marks}]" if marks else gap.reason


def _show_gaps(gaps: Sequence[tuple[str, Gap]]) -> None:
    """One row a gap; layer and source line in a column of their own, where a front end knows them."""
    if not gaps:
        return
    placed = any(gap.where for _, gap in gaps)
    columns = ("target", "engine", "node", "operator", *(("layer, line",) if placed else ()), "reason", "suggestion")
    rows = [
        (target, gap.engine, gap.node, gap.operator, *((gap.where,) if placed else ()), _reason(gap), gap.suggestion)
        for target, gap in gaps
    ]
    console.table("gaps", columns, rows)


def command(
    model: Annotated[str, typer.Argument(help="The model to check.", show_default=False)],
    target: Annotated[list[str] | None, typer.Option("--target", help="Repeatable.")] = None,
    inputs: Annotated[list[str] | None, typer.Option("--input", help="NAME=1,3,224,224; repeatable.")] = None,
    precision: Annotated[str, typer.Option(help="fp32 or bf16.")] = "fp32",
    option: Annotated[list[str] | None, typer.Option("--option", help="KEY=VALUE for the front end.")] = None,
    trust_pickle: Annotated[bool, typer.Option("--trust-pickle", help="Unpickle the model.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> int:
    """Every gap for every target at once; needs no device and no vendor tool."""
    from neoc.compile import fit, modelled
    from neoc.compile.options import CompileOptions
    from neoc.compile.pipeline import check_model
    from neoc.targets import get_target

    if not target:
        raise UsageError("no target was named", fix="add --target host, or a name from `neoc targets`")
    options = CompileOptions(
        inputs=arguments.bindings(inputs or []),
        precision=arguments.check_precision(precision),
        pairs=arguments.pairs(option or []),
        trust_pickle=trust_pickle,
    )
    targets = [get_target(name) for name in dict.fromkeys(target)]
    try:
        reports = check_model(model, targets, options)
    except UnsupportedModel as error:  # already the front end cannot take it: whatever the target
        if not as_json:
            _show_gaps([("any", gap) for gap in error.gaps])
        raise
    if as_json:
        console.print_json({"model": model, "targets": [report.as_dict() for report in reports]})
    else:
        rows = []
        for report in reports:
            for view in report.views:
                verdict = view.note or "takes it"
                if view.gaps:
                    verdict = f"{len(view.gaps)} gaps: leaves {fit.left_words(report.fallback[view.name])}"
                here = "usable here" if view.missing is None else view.missing
                rows.append((report.target, view.name + (" (last resort)" if view.fallback else ""), verdict, here))
        console.table("", ("target", "engine", "model", "this machine"), rows)
        gaps = [(report.target, gap) for report in reports for view in report.views for gap in view.gaps]
        _show_gaps(gaps)
        for report in reports:
            if report.memory is not None and (line := fit.words(report.target, report.memory)):
                print(line)
            if report.modelled is not None:
                print(modelled.words(report.modelled))
    return 0 if all(report.served for report in reports) else 1
