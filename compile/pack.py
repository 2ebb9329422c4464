"""From a decision to the artifact: the manifest says what was built, for what, and how well that was proven."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from neoc.compile.artifact import Artifact, pack
from neoc.compile.bucketed import Prepared
from neoc.compile.buckets import label
from neoc.compile.build import Loss, Workshop
from neoc.compile.choose import Chosen
from neoc.compile.contracts import Numerics, Requirement, Target, level_of
from neoc.compile.errors import OutputError
from neoc.compile.measure import fingerprint
from neoc.compile.modelled import bound
from neoc.compile.plan import EngineView
from neoc.compile.program import Program
from neoc.compile.rewrites.search import Found
from neoc.compile.rewrites.spec import spec_of

NATIVE = "native"
PLAIN = "program"
BESIDE = "standalone"
"""folder of a build's members that are also written beside the artifact"""


PORTABLE = "portable"


@dataclass(frozen=True)
class Decision:
    """What was chosen for one program: the only one, or the one of a bucket."""

    bind: Mapping[str, int]
    """sizes of the bucketed dimensions, or all of a static variant; empty where sizes are as the source has them"""
    program: Program
    chosen: Chosen
    seen: tuple[EngineView, ...]
    losses: tuple[Loss, ...] = ()
    rewrites: Found | None = None
    role: str = ""

    @property
    def id(self) -> str:
        return f"{self.chosen.candidate.plan.id}@{label(self.bind)}" if self.bind else self.chosen.candidate.plan.id

    @property
    def folder(self) -> str:
        """Where its members lie in the artifact; what no member name may have, a colon say, becomes another sign."""
        bucket = [re.sub(r"[^\w=,.-]", "-", label(self.bind), flags=re.ASCII)] if self.bind else []
        role = [self.role] if self.role else []
        return "/".join([NATIVE, *role, *bucket, self.chosen.candidate.step.engine.replace(":", ".")])

    @property
    def stand_in(self) -> Decision | None:
        """What is opened in its place where the chosen form cannot be; buckets have none."""
        portable = self.chosen.portable
        if portable is None or self.bind:
            return None
        return replace(self, chosen=replace(self.chosen, verified=portable, portable=None), role=PORTABLE)

    def members(self) -> dict[str, Path]:
        built = self.chosen.candidate.built
        return {f"{self.folder}/{name}": path for name, path in sorted(built.members.items())}


def pack_artifact(
    shop: Workshop,
    program: Program,
    target: Target,
    decisions: Sequence[Decision],
    place: Path,
    prepared: Prepared | None = None,
) -> Artifact:
    """Write the artifact: one variant a decision. Raises OutputError; nothing half written."""
    shop.progress("pack", str(place))
    folder = shop.folder("pack")
    spare = [other for d in decisions if (other := d.stand_in) is not None]
    program.save(folder)
    plain = {f"{PLAIN}/{f.name}": f for f in sorted(folder.iterdir()) if f.name != "program.json"}
    manifest = _manifest(program, target, decisions, plain)
    evidence = _evidence(target, decisions)
    if prepared is not None:
        manifest["padding"] = prepared.padding.as_dict()
        evidence["buckets"] = prepared.as_dict()
        if prepared.raw is not None:
            manifest["verification"]["raw"] = prepared.raw.as_dict()
    objects = _raw(program, target, manifest)
    manifest["variants"] += [_variant(decision, target) for decision in spare]
    native = {name: path for decision in [*decisions, *spare] for name, path in decision.members().items()}
    beside = _beside(decisions[0], place)
    made = pack(place, manifest=manifest, members={**plain, **native, **objects}, evidence=evidence)
    _write_beside(made, beside)
    return made


def _beside(decision: Decision, place: Path) -> dict[str, Path]:
    """Member -> its place beside the artifact `place`, of what an engine made for use without neoc.

    standalone/model.h of NAME.neoc goes to NAME.h. Raises OutputError for a file there that no former compilation, of
    which the artifact is what shows, can have written.
    """
    stem = place.name.removesuffix(".neoc")
    members = decision.chosen.candidate.built.members
    found = {n: place.with_name(stem + Path(n).suffix) for n in members if n.startswith(f"{BESIDE}/")}
    strangers = [path for path in found.values() if path.exists()]
    if strangers and not place.exists():
        raise OutputError(
            "a file would be overwritten that is not of neoc's",
            where=", ".join(str(path) for path in strangers),
            why=f"what belongs to {place.name} is written there",
            fix="name another output with -o, or move the file",
        )
    return found


def _write_beside(artifact: Artifact, found: Mapping[str, Path]) -> None:
    stored = artifact.manifest["variants"][0]["steps"][0]["members"]
    artifact.extract({path.name: stored[name] for name, path in found.items()}, artifact.path.parent)
    for ending in (".h", ".o", ".so") if found else ():
        old = artifact.path.with_name(artifact.path.name.removesuffix(".neoc") + ending)
        if old not in found.values():  # of a compilation before, that this one did not make again
            old.unlink(missing_ok=True)


def _manifest(
    program: Program, target: Target, decisions: Sequence[Decision], plain: dict[str, Path]
) -> dict[str, Any]:
    tools = {name: tool for d in decisions for name, tool in d.chosen.candidate.built.tools.items()}
    notes = [note for d in decisions for note in (*d.program.notes, *d.chosen.candidate.built.notes)]
    return {
        "signature": program.signature.as_dict(),
        "target": _description(target),
        "variants": [_variant(decision, target) for decision in decisions],
        "program": {name.removeprefix(f"{PLAIN}/"): name for name in sorted(plain)},
        "pre": [step.as_dict() for step in program.pre],
        "post": [step.as_dict() for step in program.post],
        "tools": {"neoc": version("neoc"), **dict(sorted(tools.items()))},
        "provenance": program.provenance.as_dict(),
        "placement": decisions[0].chosen.candidate.built.placement.as_dict(),
        "verification": _joined([_verification(decision.chosen) for decision in decisions]),
        "chosen_by": decisions[0].chosen.by,
        "notes": list(dict.fromkeys([*program.notes, *notes])),
    }


def _raw(program: Program, target: Target, facts: dict[str, Any]) -> dict[str, Path]:
    """The raw signature into `facts`, and object code of the kernels, for machines of this kind, as members."""
    if not program.pre and not program.post:
        return {}
    from neoc.compile.raw import RawPipeline
    from neoc.kernels import jit
    from neoc.kernels.errors import KernelCompileError

    pipeline = RawPipeline(facts["pre"], facts["post"], program.signature)
    facts["raw"] = pipeline.as_dict()
    if target.arch != platform.machine():
        return {}
    try:
        files = jit.compile_all(pipeline.kernels())
        cpu = jit.cpu_key()
    except KernelCompileError as error:
        facts["notes"].append(f"no object code of kernels was stored: {error}")
        return {}
    names = {path.name: f"kernels/{cpu}/{path.name}" for path in files}
    facts["kernels"] = {cpu: names} if names else {}
    return {names[path.name]: path for path in files}


def _description(target: Target) -> dict[str, Any]:
    """The target without what was measured on this machine: that is evidence."""
    facts = target.as_dict()
    documented = {k: f for k, f in facts["peak_flops"].items() if not f["source"].startswith("measured")}
    band = facts["bandwidth"]
    measured = band is not None and band["source"].startswith("measured")
    return facts | {"peak_flops": documented, "bandwidth": None if measured else band}


def _variant(decision: Decision, target: Target) -> dict[str, Any]:
    chosen, candidate = decision.chosen, decision.chosen.candidate
    step, built = candidate.step, candidate.built
    members = {name: f"{decision.folder}/{name}" for name in sorted(built.members)}
    requirements: dict[tuple[str, str], Requirement] = {}
    for requirement in (*target.requirements(), *built.requirements):
        requirements[requirement.kind, requirement.name] = requirement
    own: dict[str, Any] = {"signature": decision.program.signature.as_dict()} if decision.bind else {}
    if built.device_code is not None:
        own["device_code"] = dict(built.device_code)
    if built.mapped:
        own["mapped"] = sorted(built.mapped)
    portable = decision.stand_in
    return {
        "id": decision.id,
        "bind": dict(decision.bind),
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
                **own,
            }
        ],
        "requirements": [requirements[key].as_dict() for key in sorted(requirements)],
        "level": level_of(chosen.verified.numerics, built.toolchain).value,
        "numerics": chosen.verified.numerics.value,
        "toolchain": built.toolchain.value,
        **({} if portable is None else {"portable": portable.id}),
    }


def _joined(each: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The verification of all variants: of each output the worst, and nothing claimed that does not hold for all."""
    first = each[0]
    if len(each) == 1:
        return first
    rows: dict[str, dict[str, Any]] = {}
    for row in (row for one in each for row in one["outputs"]):
        known = rows.setdefault(row["name"], row)
        if not row["ok"] or float(row["relative"]) > float(known["relative"]):
            rows[row["name"]] = row | {"vacuous": row["vacuous"] and known["vacuous"]}
    weakest = max((one["numerics"] for one in each), key=[n.value for n in Numerics].index)
    return first | {
        "numerics": weakest,
        "why": next((one["why"] for one in each if one["why"]), ""),
        "independent": all(one["independent"] for one in each),
        "samples": sum(one["samples"] for one in each),
        "given_samples": sum(one["given_samples"] for one in each),
        "outputs": list(rows.values()),
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
        "independent": chosen.verified.judged_by == "float64" or reference.independent_of(engine),
        "judged_by": chosen.verified.judged_by,
        "samples": len(reference.samples),
        "given_samples": reference.given,
        **({} if reference.raw is None else {"raw": reference.raw.as_dict()}),
        "outputs": [report.as_dict() for report in chosen.verified.reports],
    }


def _witnesses(chosen: Chosen) -> list[str]:
    """Engines beside the chosen one that computed the same."""
    reference = chosen.verified.reference
    agreed = () if reference is None else reference.agreed
    return sorted({*chosen.corroborated_by, *agreed} - {chosen.candidate.step.engine})


def _evidence(target: Target, decisions: Sequence[Decision]) -> dict[str, Any]:
    """What was measured and what was lost on the way: true of this machine on this day."""
    proof = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": fingerprint(),
        "peaks": {k: f.value for k, f in target.peak_flops.items()},
    }
    proof |= _one(decisions[0], target)
    bound = [d for d in decisions if d.bind]  # buckets, or what is static beside the open program
    if bound:
        proof["variants"] = {d.id: _one(d, target) for d in bound}
        proof["decisions"] = {label(d.bind): _one(d, target)["decision"] for d in bound}
    return proof


def _one(decision: Decision, target: Target) -> dict[str, Any]:
    """The evidence of one decision."""
    chosen = decision.chosen
    spec = spec_of(chosen.candidate.step.variant.as_dict())
    return {
        "decision": {"plan": chosen.candidate.plan.id, "chosen_by": chosen.by, "rewrites": str(spec)},
        "rewrites": None if decision.rewrites is None else decision.rewrites.as_dict(),
        "cache": chosen.candidate.cached,
        "corroborated_by": _witnesses(chosen),
        "reference_notes": [] if chosen.verified.reference is None else list(chosen.verified.reference.notes),
        "modelled": bound(chosen.candidate.plan.programs[0], target, chosen.candidate.step.variant.precision),
        "race": chosen.race,
        "contest": chosen.contest,
        "reported": chosen.reported,
        "losses": [loss.as_dict() for loss in decision.losses],
        "engines": [view.as_dict() for view in decision.seen],
    }
