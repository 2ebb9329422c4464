"""neoc targets [NAME]"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from neoc.cli import console


def command(
    name: Annotated[str | None, typer.Argument(help="One target, in full.", show_default=False)] = None,
    neo: Annotated[bool, typer.Option("--neo", help="SageMaker Neo's 37 device names, and what serves each.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> int:
    """What neoc knows, what is usable here, and why not."""
    from neoc.targets import all_targets, get_target, neo_names

    if neo and not as_json:
        names = [(row.name, row.status, row.target or "-", row.why) for row in neo_names()]
        console.table("", ("Neo's device", "status", "target", "why"), names)
        return 0
    if name == "host":
        _measure_once()
    chosen = [get_target(name)] if name else list(all_targets())
    facts = [describe(target) for target in chosen]
    if as_json:
        extra = {} if name else {"neo": [n.as_dict() for n in neo_names()]}
        console.print_json({"targets": facts, **extra})
        return 0
    rows = []
    for target in facts:
        for engine in target["engines_here"]:
            rows.append(
                (
                    target["name"],
                    target["title"],
                    engine["engine"],
                    engine["numerics"],
                    engine["missing"] or engine["why"],
                )
            )
    console.table("", ("target", "chip", "engine", "verifiable here", "why not further"), rows)
    if name:
        _show_one(facts[0])
    else:
        print("Neo device names resolve too: `neoc targets ml_c5`; `neoc targets --neo` lists all of them.")
    return 0


def _measure_once() -> None:
    """The peaks of this machine, measured the first time that somebody asks for them."""
    from neoc.targets import peaks

    if peaks.cached() is None:
        with console.Progress(enabled=True).live("measuring this machine's peaks, some five seconds") as progress:
            peaks.measure(progress)


def describe(target: Any) -> dict[str, Any]:
    """The description of a target, with what each of its engines can do on this machine."""
    from neoc.compile.options import CompileOptions
    from neoc.compile.plan import engines_for

    engines = []
    for engine in engines_for(target, CompileOptions()):
        numerics, why = target.verifiable(engine)
        engines.append(
            {
                "engine": engine.name,
                "missing": engine.missing(),
                "numerics": numerics.value,
                "why": why,
                "fallback": engine.fallback,
            }
        )
    facts: dict[str, Any] = target.as_dict()
    return facts | {"engines_here": engines}


def _show_one(facts: dict[str, Any]) -> None:
    rows: list[tuple[str, str]] = [
        ("arch", f"{facts['arch']} {facts['level']}"),
        ("cores", str(facts["cores"] or "-")),
        ("memory", console.size(facts["memory_bytes"]) if facts["memory_bytes"] else "-"),
        ("features", " ".join(facts["features"]) or "-"),
        ("aliases", ", ".join(facts["aliases"]) or "-"),
    ]
    for dtype, figure in facts["peak_flops"].items():
        rows.append((f"peak {dtype}", f"{console.count(figure['value'])}FLOP/s ({figure['source']})"))
    if facts["bandwidth"]:
        rows.append(("bandwidth", f"{console.count(facts['bandwidth']['value'])}B/s ({facts['bandwidth']['source']})"))
    rows += [("note", note) for note in facts["notes"]]
    console.table(facts["title"], ("fact", "value"), rows)
