"""neoc inspect MODEL|ARTIFACT"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neoc.cli import arguments, console

if TYPE_CHECKING:
    from neoc.compile.options import CompileOptions


def command(
    subject: Annotated[str, typer.Argument(help="A model, or a .neoc file.", show_default=False)],
    inputs: Annotated[list[str] | None, typer.Option("--input", help="NAME=1,3,224,224; repeatable.")] = None,
    option: Annotated[list[str] | None, typer.Option("--option", help="KEY=VALUE for the front end.")] = None,
    trust_pickle: Annotated[bool, typer.Option("--trust-pickle", help="Unpickle the model.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> int:
    """Signature, operators, FLOPs, bytes; of an artifact also target, placement and verification."""
    from neoc.compile.artifact import is_artifact
    from neoc.compile.options import CompileOptions

    if is_artifact(Path(subject)):
        return _artifact(Path(subject), as_json)
    options = CompileOptions(
        inputs=arguments.bindings(inputs or []), pairs=arguments.pairs(option or []), trust_pickle=trust_pickle
    )
    return _model(subject, options, as_json)


def _model(source: str, options: CompileOptions, as_json: bool) -> int:
    from neoc.compile.analysis import cost
    from neoc.compile.pipeline import lower

    program = lower(source, options)
    reckoned = cost(program)
    facts = {
        "provenance": program.provenance.as_dict(),
        "opset": program.opset,
        "signature": program.signature.as_dict(),
        "notes": list(program.notes),
        **reckoned.as_dict(),
    }
    if as_json:
        console.print_json(facts)
        return 0
    origin = program.provenance
    rows = [
        ("source", _origin(origin.as_dict())),
        ("opset", f"{program.opset} in normal form"),
        *(("input", str(spec)) for spec in program.signature.inputs),
        *(("output", str(spec)) for spec in program.signature.outputs),
        ("weights", f"{console.count(reckoned.parameters)} values, {console.size(reckoned.weight_bytes)}"),
        ("FLOPs", _flops(reckoned)),
        *(("note", note) for note in program.notes),
    ]
    console.table(origin.name, ("fact", "value"), rows)
    console.table("operators", ("operator", "nodes"), list(reckoned.operators.items()))
    return 0


def _flops(reckoned: Any) -> str:
    if reckoned.uncounted and not reckoned.flops:
        return f"not known: bind the open dimensions of {len(reckoned.uncounted)} nodes with --input"
    text = f"{console.count(reckoned.flops)} in convolutions, matrix products and recurrences"
    if reckoned.uncounted:
        text += f"; {len(reckoned.uncounted)} nodes not counted: bind the open dimensions with --input"
    return text


def _artifact(path: Path, as_json: bool) -> int:
    from neoc.cli import summary
    from neoc.compile import modelled
    from neoc.compile.artifact import Artifact

    artifact = Artifact.open(path)
    artifact.verify()
    manifest, evidence = artifact.manifest, artifact.evidence
    if as_json:
        console.print_json({"manifest": manifest, "evidence": evidence})
        return 0
    variant = manifest["variants"][0]
    rows = [
        ("target", f"{manifest['target']['name']} ({manifest['target']['title']})"),
        ("level", summary.level_words(artifact)),
        *(("input", str(spec)) for spec in artifact.signature.inputs),
        *(("output", str(spec)) for spec in artifact.signature.outputs),
        *summary.raw_rows(manifest),
        *(
            ("variant", f"{v['id']}, {v['threads']} threads, {v['precision']}, {v['level']}")
            for v in manifest["variants"]
        ),
        *(("rewrote", line) for line in summary.rewrote(artifact)),
        *(("modelled", modelled.words(m)) for m in [evidence.get("modelled")] if m),
        *(("buckets", line) for line in summary.buckets(artifact)),
        *(("placement", f"{engine}: {count} nodes") for engine, count in summary.placement(artifact).items()),
        ("chosen by", manifest["chosen_by"]),
        ("tools", ", ".join(f"{k} {v}" for k, v in manifest["tools"].items())),
        ("needs", ", ".join(_need(r) for r in variant["requirements"])),
        ("source", _origin(manifest["provenance"])),
        ("digest", manifest["content_digest"]),
        ("size", console.size(path.stat().st_size)),
        *(("note", note) for note in manifest["notes"]),
    ]
    console.table(path.name, ("fact", "value"), rows)
    summary.show_kernels(manifest)
    summary.show_verification(artifact)
    summary.show_rewrites(artifact)
    summary.show_race(artifact)
    return 0


def _origin(facts: dict[str, str]) -> str:
    return f"{facts['name']} ({facts['framework']} {facts['version']}), sha256 {facts['sha256'][:12]}"


def _need(requirement: dict[str, str]) -> str:
    return " ".join(part for part in (requirement["kind"], requirement["name"], requirement["version"]) if part)
