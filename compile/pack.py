"""From a decision to the artifact: the manifest says what was built, for what, and how well that was proven."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from neoc.compile.artifact import Artifact, pack
from neoc.compile.build import Candidate, Workshop
from neoc.compile.choose import Chosen
from neoc.compile.contracts import Requirement, Target, level_of
from neoc.compile.measure import fingerprint
from neoc.compile.plan import EngineView
from neoc.compile.program import Program

NATIVE = "native"
PLAIN = "program"


def pack_artifact(
    shop: Workshop,
    program: Program,
    target: Target,
    chosen: Chosen,
    seen: tuple[EngineView, ...],
    place: Path,
) -> Artifact:
    """Write the artifact. Raises OutputError; nothing half written."""
    shop.progress("pack", str(place))
    candidate = chosen.candidate
    folder = shop.folder("pack")
    program.save(folder)
    plain = {f"{PLAIN}/{f.name}": f for f in sorted(folder.iterdir()) if f.name != "program.json"}
    place_of = _native(candidate.step.engine)
    native = {f"{place_of}/{name}": path for name, path in sorted(candidate.built.members.items())}
    return pack(
        place,
        manifest=_manifest(program, target, chosen, plain),
        members={**plain, **native},
        evidence=_evidence(shop, target, chosen, seen),
    )


def _native(engine: str) -> str:
    """The folder of an engine's members; one named module:attribute has a colon, which no member name may have."""
    return f"{NATIVE}/{engine.replace(':', '.')}"


def _manifest(program: Program, target: Target, chosen: Chosen, plain: dict[str, Path]) -> dict[str, Any]:
    candidate = chosen.candidate
    return {
        "signature": program.signature.as_dict(),
        "target": _description(target),
        "variants": [_variant(candidate, target, chosen)],
        "program": {name.removeprefix(f"{PLAIN}/"): name for name in sorted(plain)},
        "pre": [step.as_dict() for step in program.pre],
        "post": [step.as_dict() for step in program.post],
        "tools": {"neoc": version("neoc"), **dict(sorted(candidate.built.tools.items()))},
        "provenance": program.provenance.as_dict(),
        "placement": candidate.built.placement.as_dict(),
        "verification": _verification(chosen),
        "chosen_by": chosen.by,
        "notes": [*program.notes, *candidate.built.notes],
    }


def _description(target: Target) -> dict[str, Any]:
    """The target without what was measured on this machine: that is evidence."""
    facts = target.as_dict()
    documented = {k: f for k, f in facts["peak_flops"].items() if not f["source"].startswith("measured")}
    band = facts["bandwidth"]
    measured = band is not None and band["source"].startswith("measured")
    return facts | {"peak_flops": documented, "bandwidth": None if measured else band}


def _variant(candidate: Candidate, target: Target, chosen: Chosen) -> dict[str, Any]:
    step, built = candidate.step, candidate.built
    members = {name: f"{_native(step.engine)}/{name}" for name in sorted(built.members)}
    requirements: dict[tuple[str, str], Requirement] = {}
    for requirement in (*target.requirements(), *built.requirements):
        requirements[requirement.kind, requirement.name] = requirement
    return {
        "id": candidate.plan.id,
        "bind": {},
        "precision": step.variant.precision,
        "threads": step.variant.threads,
        "steps": [
            {
                "engine": step.engine,
                "variant": step.variant.as_dict(),
                "members": members,
                "placement": built.placement.as_dict(),
                "tools": dict(sorted(built.tools.items())),
                "reproducible": built.reproducible,
            }
        ],
        "requirements": [requirements[key].as_dict() for key in sorted(requirements)],
        "level": level_of(chosen.verified.numerics, built.toolchain).value,
        "numerics": chosen.verified.numerics.value,
        "toolchain": built.toolchain.value,
    }


def _verification(chosen: Chosen) -> dict[str, Any]:
    reference = chosen.verified.reference
    engine = chosen.candidate.step.engine
    if reference is None:
        return {
            "numerics": chosen.verified.numerics.value,
            "why": chosen.verified.why_not_further,
            "reference": "",
            "independent": False,
            "judged_by": "",
            "samples": 0,
            "given_samples": 0,
            "outputs": [],
        }
    return {
        "numerics": chosen.verified.numerics.value,
        "why": chosen.verified.why_not_further,
        "reference": reference.name,
        "independent": reference.independent_of(engine),
        "judged_by": chosen.verified.judged_by,
        "samples": len(reference.samples),
        "given_samples": reference.given,
        "outputs": [report.as_dict() for report in chosen.verified.reports],
    }


def _witnesses(chosen: Chosen) -> list[str]:
    """Engines beside the chosen one that computed the same."""
    reference = chosen.verified.reference
    agreed = () if reference is None else reference.agreed
    return sorted({*chosen.corroborated_by, *agreed} - {chosen.candidate.step.engine})


def _evidence(shop: Workshop, target: Target, chosen: Chosen, seen: tuple[EngineView, ...]) -> dict[str, Any]:
    """What was measured and what was lost on the way: true of this machine on this day."""
    return {
        "decision": {"plan": chosen.candidate.plan.id, "chosen_by": chosen.by},
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": fingerprint(),
        "cache": chosen.candidate.cached,
        "peaks": {k: f.value for k, f in target.peak_flops.items()},
        "corroborated_by": _witnesses(chosen),
        "reference_notes": [] if chosen.verified.reference is None else list(chosen.verified.reference.notes),
        "race": chosen.race,
        "reported": chosen.reported,
        "losses": [loss.as_dict() for loss in shop.losses],
        "engines": [view.as_dict() for view in seen],
    }
