"""How a compilation is told: one row a target, then what was proven, raced and lost."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from neoc.cli import console
from neoc.compile.errors import NeocError

if TYPE_CHECKING:
    from neoc.compile.artifact import Artifact

COLUMNS = ("target", "level", "selected", "p50", "its time over the next engine's", "artifact", "size")


def row(name: str, result: Artifact | NeocError) -> tuple[str, ...]:
    """The result table's row for one target."""
    if isinstance(result, NeocError):
        return (name, "failed", type(result).__name__, "-", "-", "-", "-")
    variant = result.manifest["variants"][0]
    reported = result.evidence.get("reported") or {}
    p50 = reported.get("winner", {}).get("median_ns")
    return (
        name,
        result.level,
        variant["id"],
        console.seconds(p50) if p50 else "-",
        _against(reported),
        str(result.path),
        console.size(result.path.stat().st_size),
    )


def _against(reported: dict[str, Any]) -> str:
    rivals = [r for r in reported.get("rivals", []) if "ratio" in r]
    if not rivals:
        return "-"
    nearest = max(rivals, key=lambda r: r["ratio"])
    return f"{interval(nearest)} of {nearest['id']}"


def interval(ratio: dict[str, Any]) -> str:
    """A ratio with its bounds, where the rounds were enough to bound it."""
    if ratio["low"] is None:
        return f"{ratio['ratio']:.3f}"
    return f"{ratio['ratio']:.3f} [{ratio['low']:.3f}, {ratio['high']:.3f}]"


def details(artifact: Artifact) -> Iterator[str]:
    """The lines below the table: the proof, then whatever the user should not miss."""
    manifest = artifact.manifest
    yield from buckets(artifact)
    if rules := list(rewrote(artifact)):
        yield f"rewrote: {', '.join(dict.fromkeys(rules))}"
    if modelled := artifact.evidence.get("modelled"):
        from neoc.compile.modelled import words

        yield words(modelled)
    proof = manifest["verification"]
    if proof["outputs"]:
        worst = max((o["relative"] for o in proof["outputs"] if isinstance(o["relative"], float)), default=0.0)
        witnesses = artifact.evidence.get("corroborated_by", [])
        who = f"{', '.join(witnesses)} computed the same" if witnesses else "nobody but the winner's library vouches"
        yield f"proof: largest relative error {worst:.1e} against {_judge(proof)} ({who})"
        if same := [o["name"] for o in proof["outputs"] if o.get("identical") and not o["vacuous"]]:
            yield f"every bit is the reference's in {', '.join(same)}"
        if "raw" in proof:
            yield _raw_proof(proof["raw"])
        if not proof["independent"]:
            yield "not independent: the reference shares code or conversion with what it judged"
        vacuous = [o["name"] for o in proof["outputs"] if o["vacuous"]]
        if proof["why"]:
            yield f"level {artifact.level}: {proof['why']}"
        if vacuous:
            yield f"vacuous: {', '.join(vacuous)} did not change with the inputs, so nothing was proven there"
    else:
        yield f"proof: none yet, level {artifact.level}: {proof['why']}"
    fallen = manifest["variants"][0]["steps"][0]["placement"]["fallback"]
    if fallen:
        shown = "; ".join(fallen[:5]) + (f"; and {len(fallen) - 5} operators more" if fallen[5:] else "")
        yield f"slow: the reference evaluator runs this model; no compiled engine could ({shown})"
    for loss in artifact.evidence.get("losses", []):
        yield f"lost: {loss['candidate']} ({loss['stage']}): {loss['reason']}"
    for note in manifest["notes"]:
        yield f"note: {note}"


def _judge(proof: Mapping[str, Any]) -> str:
    return "a float64 run of the original graph" if proof["judged_by"] == "float64" else str(proof["reference"])


def buckets(artifact: Artifact) -> Iterator[str]:
    """What the variants are for, where they are buckets, and what padding costs."""
    found = artifact.evidence.get("buckets")
    if found is None:
        return
    for dim in found["dims"]:
        text = f"buckets of {dim['dim']}: {', '.join(map(str, dim['sizes']))}"
        if dim["padding_share"] is not None:
            one = dim["padding_share_with_one_bucket"]
            text += f"; {dim['padding_share']:.0%} of all positions are padding, {one:.0%} with one bucket"
        yield text
    tested = sum(len(bucket["lengths"]) for bucket in found["padding"])
    worst = max(bucket["largest_relative_error"] for bucket in found["padding"])
    yield f"padding: {tested} padded requests gave what they give unpadded (largest relative error {worst:.1e})"


def _raw_proof(raw: Mapping[str, Any]) -> str:
    worst = max((step["max_abs_error"] for step in raw["steps"]), default=0.0)
    kind = f"{raw['given_items']} of them given" if raw["given_items"] else "made up"
    return f"raw items: {raw['items']} ({kind}); kernels within {worst:.1e} of their plain twins"


def raw_rows(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The raw signature, what `run_raw` and `neoc run --raw` take and give, and the steps around the tensors."""
    raw = manifest.get("raw")
    if raw is None:
        return
    batch = "any number of items" if raw["batch"] is None else f"{raw['batch']} items"
    for item in raw["items"]:
        yield "raw input", f"{item['name']}: {item['kind']}, {item['takes']}"
    for answer in raw["answers"]:
        yield "raw output", f"{answer['name']}: {answer['gives']}"
    yield "batch", f"{batch} at a time"
    for word in ("pre", "post"):
        for step in manifest[word]:
            yield f"{word}process", f"{step['name']}: {_short_options(step['options'])}"
    for cpu, files in manifest.get("kernels", {}).items():
        yield "object code", f"{len(files)} kernels for {cpu}"


def _short_options(options: Mapping[str, Any]) -> str:
    """The options that are set, long ones cut."""
    said = {key: json.dumps(value) for key, value in options.items() if value is not None}
    return ", ".join(f"{key} {text if len(text) <= 60 else text[:57] + '...'}" for key, text in said.items())


def level_words(artifact: Artifact) -> str:
    proof = artifact.manifest["verification"]
    return artifact.level if not proof["why"] else f"{artifact.level} ({proof['why']})"


def placement(artifact: Artifact) -> dict[str, int]:
    nodes: dict[str, int] = {}
    for step in artifact.manifest["variants"][0]["steps"]:
        for engine, number in step["placement"]["nodes"].items():
            nodes[engine] = nodes.get(engine, 0) + number
    return nodes


def show_verification(artifact: Artifact) -> None:
    proof = artifact.manifest["verification"]
    if not proof["outputs"]:
        return
    rows = [
        (
            o["name"],
            o["dtype"],
            "vacuous" if o["vacuous"] else "ok" if o["ok"] else "FAILED",
            _error(o),
            o["why"],
        )
        for o in proof["outputs"]
    ]
    doubt = "" if proof["independent"] else ", not independent"
    console.table(
        f"against {_judge(proof)}{doubt}, {proof['samples']} samples",
        ("output", "dtype", "verdict", "relative error", "remark"),
        rows,
    )


def rewrote(artifact: Artifact) -> Iterator[str]:
    """Which rules of exact rewriting each variant was made by, with the choices that were made for its sites."""
    from neoc.compile.rewrites.spec import Spec, spec_of

    for variant in artifact.manifest["variants"]:
        for rule in spec_of(variant["steps"][0]["variant"]).rules:
            yield str(Spec((rule,)))


def show_rewrites(artifact: Artifact) -> None:
    """Every rule that was tried, on which engine, and what it gained."""
    found = artifact.evidence.get("rewrites")
    if not found or not found["trials"]:
        return
    rows = [
        (
            trial["engine"],
            trial["rule"],
            str(trial["sites"]),
            trial["outcome"],
            interval(trial["ratio"]) if trial["ratio"] else "-",
            trial["why"] or "; ".join(_tuned(t) for t in trial["tuned"]),
        )
        for trial in found["trials"]
    ]
    columns = ("engine", "rule", "sites", "outcome", "time with / without", "remark")
    how = "decided before, by the same search" if found["remembered"] else f"decided in {found['seconds']:.0f} s"
    console.table("rewrites", columns, rows, how)


def _tuned(told: Mapping[str, Any]) -> str:
    return f"{told['key']}: {told['choice'] or 'left'}"


def show_kernels(manifest: Mapping[str, Any]) -> None:
    """Code for a GPU: a row a kernel, what it takes of the chip. Read from the machine code, nothing was timed."""
    for variant in manifest["variants"]:
        for code in (step["device_code"] for step in variant["steps"] if "device_code" in step):
            rows = [
                (
                    k["name"],
                    str(k["registers"]),
                    str(k["shared_bytes"]),
                    "/".join(
                        "?" if k[f"spill_{way}_bytes"] is None else str(k[f"spill_{way}_bytes"])
                        for way in ("store", "load")
                    ),
                    str(k["block_threads"] or "-"),
                    "-" if k["occupancy"] is None else f"{k['occupancy']:.0%}",
                    k["bound_by"],
                )
                for k in code["kernels"]
            ]
            columns = ("kernel", "registers", "shared bytes", "spills st/ld", "threads", "occupancy", "bound by")
            console.table(
                f"kernels for sm_{code['sm']} ({code['compiler']})", columns, rows, "occupancy is theoretical"
            )


def _error(output: Mapping[str, Any]) -> str:
    if output.get("identical"):
        return "none: every bit"
    relative = output["relative"]
    return f"{relative:.1e}" if isinstance(relative, float) else str(relative)


def show_race(artifact: Artifact) -> None:
    race = artifact.evidence.get("race")
    if not race:
        return
    rows = [
        (
            entrant["name"],
            console.seconds(entrant["median_ns"]) if entrant["median_ns"] else "-",
            interval(entrant["ratio_to_winner"]) if entrant["ratio_to_winner"] else "-",
            entrant["status"],
            entrant["why"],
        )
        for entrant in race["entrants"]
    ]
    columns = ("candidate", "median", "time relative to the winner", "status", "why")
    console.table("race", columns, rows, "; ".join(filter(None, (race["why"], race["noise"]))))
