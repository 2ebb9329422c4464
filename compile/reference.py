"""What the source itself computes, on data that the source accepts: the yardstick of every proof."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from neoc.compile import exact_memory, frontends, inputs, onnx_io, parity, passes, raw_proof, registry
from neoc.compile.analysis import Cost, cost
from neoc.compile.answers import Answers, Sample, answer
from neoc.compile.build import Workshop
from neoc.compile.contracts import Signature
from neoc.compile.errors import (
    InvalidInput,
    MissingTool,
    NeocError,
    NoCandidate,
    UnsupportedModel,
    WorkerFailure,
)
from neoc.compile.float64 import widen_array, widen_model, widen_signature
from neoc.compile.frontends.onnx import load
from neoc.compile.options import InputBinding
from neoc.compile.program import Program
from neoc.compile.raw_proof import RawProof

SECOND_OPINION_FLOPS = 2e8
"""up to this size the reference evaluator, in numpy, answers within seconds and is always asked too"""


SECOND_OPINION_BYTES = 8 << 20
EXACT_FLOPS = 1 << 30
"""what rewritten candidates are judged on in double precision: samples up to this, but at least one"""
GROSS = 1e-2
"""relative distance to float64 that no rounding of a working network in float32 explains: another operator semantics"""


@dataclass(frozen=True)
class Reference:
    """Samples and what the untouched source gives for them."""

    engine: str
    samples: tuple[Sample, ...]
    outputs: tuple[Mapping[str, Any], ...]
    moved: Mapping[str, bool]
    given: int
    """how many of the samples, the first ones, are the user's own"""
    agreed: tuple[str, ...] = ()
    """other oracles that computed the same"""
    exact: bool = False
    """True where oracles disagreed and the outputs here are what a float64 run confirmed"""
    fed: tuple[Sample, ...] = ()
    """the samples as candidates take them: with kernels where the source gets the plain twins, and with folded steps"""
    raw: RawProof | None = None
    """of the samples that were made of raw items"""
    notes: tuple[str, ...] = ()
    framework: str = ""
    """name and version, where the outputs are those of the source's own framework: nothing overrules it"""
    lacking: str = ""
    """why the framework was not asked, where only neoc's own conversion of the source could be run"""

    @property
    def name(self) -> str:
        if self.framework:
            return f"{self.framework} on the source itself"
        if self.lacking:
            return f"{self.engine} on neoc's own conversion of the source, optimisation off ({self.lacking})"
        return f"{self.engine} on the source file, optimisation off"

    def independent_of(self, engine: str) -> bool:
        """Whether somebody else than `engine`, and than neoc's own conversion, vouches for the outputs."""
        return not self.lacking and any(name != engine for name in (self.engine, *self.agreed))


def oracles() -> list[str]:
    """Engines that run untouched sources: compiled ones first, the reference evaluator last."""
    able = [engine for engine in registry.engines() if engine.oracle and engine.missing() is None]
    return [engine.name for engine in sorted(able, key=lambda e: (e.fallback, e.name))]


def gather(
    shop: Workshop, program: Program, rtol: float, samples: Sequence[Sample] = (), own: int | None = None
) -> Reference:
    """Run the source on the user's data and on generated data.

    `samples`: more that must be run, before the generated ones; `own`: how many of the first samples are the user's
    (None: those of --data). Raises InvalidInput where the source rejects the data (given or generated), NoCandidate
    where nothing runs the source.
    """
    served, program = program, program.unfolded or program
    if program.source is None:
        raise ValueError("a program without a source has no reference")
    given: list[Sample] = []
    if shop.options.data is not None:
        given += inputs.load_data(shop.options.data, program.signature)
    count = len(given) if own is None else own
    raw = raw_proof.prove_pre(shop, program, served) if program.pre or program.post else None
    fed = list(given)
    if raw is not None:
        given += raw.samples
        fed += raw.fed
        count += raw.given_samples
    given += samples
    first_raw = len(fed) - (0 if raw is None else len(raw.samples))
    fed += samples
    generate = program is served  # what is made up for the source does not fit a folded program
    notes: list[str] = []
    refusals: dict[str, str] = {}
    rejected: InvalidInput | None = None
    framework, lacking = frontends.oracle_of(program.source)
    for oracle in [*([framework] if framework else []), *oracles()]:
        theirs = oracle == framework
        try:
            answered = _ask(shop, program, oracle, given, generate, notes, theirs)
        except (WorkerFailure, UnsupportedModel, MissingTool) as error:
            refusals[oracle] = str(error)
            lacking = f"{framework} failed: {error.why or error.what}" if theirs else lacking
            continue
        except InvalidInput as error:  # an oracle that lacks a kernel may find out only when it runs: ask the next
            rejected = rejected or error
            continue
        if answered is None:
            refusals[oracle] = "rejected every generated input"
            continue
        first = Reference(
            oracle,
            tuple(answered.samples),
            tuple(answered.outputs),
            parity.movement(answered.outputs[: answered.alike], rtol),
            count,
            fed=(*fed, *answered.samples[len(fed) :]),
            notes=tuple(notes),
            framework=framework if theirs else "",
            lacking="" if theirs else lacking,
        )
        settled = _second_opinion(shop, program, first, rtol)
        if raw is None:
            return settled
        return replace(settled, raw=raw.prove_post(settled.outputs[first_raw : first_raw + len(raw.samples)]))
    if rejected is not None:
        raise rejected
    if "rejected every generated input" in refusals.values():
        raise InvalidInput(
            "the model rejects every input that neoc could make up",
            where=program.provenance.name,
            why="; ".join([*notes[-1:], *(f"{k}: {v}" for k, v in refusals.items())]),
            fix="give --data FILE.npz with realistic inputs (arrays named like the model's inputs), "
            "or bind the open dimensions with --input",
        )
    raise NoCandidate(
        "nothing here runs the source model, so no result could be checked",
        losses=refusals,
        where=program.provenance.name,
        why="; ".join(f"{k}: {v}" for k, v in refusals.items()),
        fix="check the model with `neoc inspect`, or convert it to a newer opset",
    )


def _ask(
    shop: Workshop,
    program: Program,
    oracle: str,
    given: Sequence[Sample],
    generate: bool,
    notes: list[str],
    framework: bool,
) -> Answers | None:
    """What an oracle, or the source's own framework, answers. Raises what it raises."""
    source = program.source
    assert source is not None
    shop.progress("reference", oracle)
    worker = shop.worker(f"reference {oracle}", None if framework else oracle)
    try:
        if framework:
            assert source.request is not None
            session = worker.open_framework(source.format, source.request.as_dict(), program.signature)
        else:
            session = worker.open_source(oracle, source.graph, program.signature)
        return answer(session, program, given, shop.options.seed if generate else None, notes)
    finally:
        worker.close()


def _second_opinion(shop: Workshop, program: Program, first: Reference, rtol: float) -> Reference:
    """Small models are also run by the other oracles; where they disagree, a float64 run settles it."""
    assert program.source is not None
    if not _is_small(program, first.samples[0]):
        return first
    folder = shop.folder("normal-form")
    program.save(folder)
    agreed: list[str] = []
    for engine in oracles():
        if engine == first.engine:
            continue
        # The evaluator misreads some operators of old opsets, so the normal form, of a newer one, gets a second try.
        answers = (
            run_source(shop, engine, path, program.signature, first.samples)
            for path in (program.source.graph, folder / "program.onnx")
        )
        disputed = None
        for outputs in answers:
            if outputs is None:
                continue
            if _agree(outputs, first.outputs, rtol):
                agreed.append(engine)
                break
            disputed = disputed or outputs
        else:
            if disputed is not None and first.framework:
                note = f"{engine}, on the converted graph, departs from {first.framework}"
                first = replace(first, notes=(*first.notes, note))
            elif disputed is not None and _confirmed(shop, program, first, disputed):
                note = f"{first.engine} departs from {engine}, which a float64 run confirms"
                moved = parity.movement(disputed, rtol)
                notes = (*first.notes, note)
                return replace(first, engine=engine, outputs=tuple(disputed), moved=moved, exact=True, notes=notes)
    return replace(first, agreed=tuple(agreed))


def _flops(program: Program, sample: Sample) -> int:
    reckoned = _reckoned(program, sample)
    return EXACT_FLOPS if reckoned is None else reckoned.flops


def _reckoned(program: Program, sample: Sample) -> Cost | None:
    """The cost of the source at the sample's own shapes; None where it cannot be told."""
    assert program.source is not None
    arrays = {name: a for name, a in sample.items() if isinstance(a, np.ndarray)}  # not sequences, which have no shape
    shapes = {name: InputBinding(a.shape) for name, a in arrays.items()}
    try:
        return cost(passes.run(load(program.source.graph, shapes), (passes.InferShapes(),)))
    except NeocError:
        return None


def _is_small(program: Program, sample: Sample) -> bool:
    """Whether the evaluator is through within seconds, by the FLOPs at the sample's own shapes.

    Bodies of If keep unknown shapes: where some nodes cannot be counted, few weights stand for few FLOPs.
    """
    reckoned = _reckoned(program, sample)
    if reckoned is None:
        return False
    return reckoned.flops <= SECOND_OPINION_FLOPS and not (
        reckoned.uncounted and reckoned.weight_bytes > SECOND_OPINION_BYTES
    )


def _confirmed(shop: Workshop, program: Program, first: Reference, disputed: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a float64 run of the original graph shows the first oracle to be grossly wrong, and `disputed` not."""
    exact = remembered_float64(shop, program, first.samples)
    return exact is not None and _near(exact, disputed) and not _near(exact, first.outputs)


def _agree(got: Sequence[Mapping[str, Any]], want: Sequence[Mapping[str, Any]], rtol: float) -> bool:
    return all(
        parity.compare(name, g.get(name), w[name], rtol).ok for g, w in zip(got, want, strict=True) for name in w
    )


def _near(exact: Sequence[Mapping[str, Any]], outputs: Sequence[Mapping[str, Any]]) -> bool:
    """Whether outputs are what float32 rounding could make of the exact ones; integers and strings must be equal."""
    narrowed = [{name: narrow_like(e[name], o.get(name)) for name in e} for e, o in zip(exact, outputs, strict=True)]
    return _agree(outputs, narrowed, GROSS)


def exact_samples(program: Program, reference: Reference) -> int:
    """On how many of the samples, at least one, the evaluator in double precision is through within seconds."""
    flops = max(1, _flops(program, reference.samples[0]))
    return int(min(max(1, EXACT_FLOPS // flops), len(reference.samples)))


def exact_outputs(
    shop: Workshop, program: Program, reference: Reference, count: int
) -> Sequence[Mapping[str, Any]] | None:
    """`in_float64` on the first `count` samples; what was computed once is kept in the shop."""
    known = shop.exact or ()
    if len(known) < count:
        found = remembered_float64(shop, program, reference.samples[len(known) : count])
        shop.exact = None if found is None else (*known, *found)
    return None if shop.exact is None else shop.exact[:count]


def remembered_float64(
    shop: Workshop, program: Program, samples: Sequence[Sample]
) -> Sequence[Mapping[str, Any]] | None:
    """`in_float64`, or what it gave for the same source and samples in an earlier compilation."""
    return exact_memory.remembered(shop, program, samples, lambda s: in_float64(shop, program.unfolded or program, s))


def in_float64(shop: Workshop, program: Program, samples: Sequence[Sample]) -> list[Mapping[str, Any]] | None:
    """The original graph in double precision on `samples`; None where that cannot be run."""
    assert program.source is not None
    bound = {name: InputBinding(tuple(shape), dtype) for name, shape, dtype in program.source.bound}
    original = load(program.source.graph, bound)
    path = shop.folder("float64") / "wide.onnx"
    onnx_io.write(widen_model(original.model), path, data_name="wide.data")
    wide = [{name: widen_array(array) for name, array in sample.items()} for sample in samples]
    return run_source(shop, "reference", path, widen_signature(program.signature), wide)


def run_source(
    shop: Workshop, engine: str, path: Path, signature: Signature, samples: Sequence[Sample]
) -> list[Mapping[str, Any]] | None:
    """`path` run unoptimised by an oracle; None where it refuses."""
    shop.progress("reference", f"{engine} on {path.name}")
    worker = shop.worker(f"reference {engine}", engine)
    try:
        session = worker.open_source(engine, path, signature)
        return [session.run(sample) for sample in samples]
    except NeocError as error:
        shop.progress("reference", f"{engine} does not run it: {error}")
        return None
    finally:
        worker.close()


def narrow_like(wide: Any, like: Any) -> Any:
    """A float64 result in the dtype of `like`, so that a comparison sees like with like."""
    if isinstance(like, np.ndarray) and isinstance(wide, np.ndarray):
        return wide.astype(like.dtype) if like.dtype == np.float32 else wide
    if isinstance(like, list) and isinstance(wide, list) and len(like) == len(wide):
        return [narrow_like(w, x) for w, x in zip(wide, like, strict=True)]
    return wide
