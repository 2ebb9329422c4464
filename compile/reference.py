"""What the source itself computes, on data that the source accepts: the yardstick of every proof."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neoc.compile import inputs, onnx_io, parity, registry
from neoc.compile.build import Workshop
from neoc.compile.contracts import Session, Signature
from neoc.compile.errors import FeedError, InvalidInput, NeocError, NoCandidate, WorkerFailure
from neoc.compile.float64 import widen_array, widen_model, widen_signature
from neoc.compile.frontends import load
from neoc.compile.options import InputBinding
from neoc.compile.program import Program

Sample = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Reference:
    """Samples and what the untouched source gives for them."""

    engine: str
    samples: tuple[Sample, ...]
    outputs: tuple[Mapping[str, Any], ...]
    moved: Mapping[str, bool]
    given: int
    """how many of the samples, the first ones, are the user's own"""
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.engine} on the source file, optimisation off"


def oracles() -> list[str]:
    """Engines that run untouched sources: compiled ones first, the reference evaluator last."""
    engines = [registry.load_engine(name) for name in registry.engine_names()]
    able = [engine for engine in engines if engine.oracle and engine.missing() is None]
    return [engine.name for engine in sorted(able, key=lambda e: (e.fallback, e.name))]


def gather(shop: Workshop, program: Program, rtol: float) -> Reference:
    """Run the source on the user's data and on generated data.

    Raises InvalidInput where the source rejects the data (given or generated), NoCandidate where nothing runs the source.
    """
    if program.source is None:
        raise ValueError("a program without a source has no reference")
    given: list[dict[str, np.ndarray]] = []
    if shop.options.data is not None:
        given = inputs.load_data(shop.options.data, program.signature)
    notes: list[str] = []
    refusals: dict[str, str] = {}
    for engine in oracles():
        shop.progress("reference", engine)
        worker = shop.worker(f"reference {engine}", engine)
        try:
            session = worker.open_source(engine, program.source.path, program.signature)
            answered = _answer(session, program, given, shop.options.seed, notes)
        except WorkerFailure as error:
            refusals[engine] = str(error)
            continue
        finally:
            worker.close()
        if answered is None:
            refusals[engine] = "rejected every generated input"
            continue
        samples, outputs = answered
        moved = parity.movement(outputs, rtol)
        return Reference(engine, tuple(samples), tuple(outputs), moved, len(given), tuple(notes))
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


def _answer(
    session: Session,
    program: Program,
    given: Sequence[dict[str, np.ndarray]],
    seed: int,
    notes: list[str],
) -> tuple[list[Sample], list[Mapping[str, Any]]] | None:
    """(samples, outputs), the user's first; None where no generated sample is accepted and none was given."""
    samples: list[Sample] = []
    outputs: list[Mapping[str, Any]] = []
    for index, sample in enumerate(given):
        try:
            outputs.append(session.run(sample))
        except (FeedError, WorkerFailure) as error:
            raise InvalidInput(
                "the model rejects the given data",
                where=f"sample {index}",
                why=error.why or str(error),
                fix="check names, shapes and values against `neoc inspect`",
            ) from error
        samples.append(sample)
    for generated in _generated(program, seed):
        try:
            made = [session.run(sample) for sample in generated]
        except (FeedError, WorkerFailure) as error:
            notes.append(f"generated data was rejected: {error.why or error}")
            continue
        return [*samples, *generated], [*outputs, *made]
    return (samples, outputs) if samples else None


def _generated(program: Program, seed: int) -> Iterator[list[dict[str, np.ndarray]]]:
    """A ladder of generated sample pairs, the most plausible sizes first."""
    for sizes in inputs.candidates(program, seed):
        yield inputs.generate(program, seed, 2, sizes)


def in_float64(shop: Workshop, program: Program, reference: Reference) -> list[Mapping[str, Any]] | None:
    """The original graph in double precision on the reference's samples; None where that cannot be run."""
    assert program.source is not None
    bound = {name: InputBinding(tuple(shape), dtype) for name, shape, dtype in program.source.bound}
    original = load(program.source.path, bound)
    path = shop.folder("float64") / "wide.onnx"
    onnx_io.write(widen_model(original.model), path, data_name="wide.data")
    return run_source(shop, "reference", path, widen_signature(program.signature), reference.samples)


def run_source(
    shop: Workshop, engine: str, path: Path, signature: Signature, samples: Sequence[Sample]
) -> list[Mapping[str, Any]] | None:
    """`path` run unoptimised on samples widened to the signature's dtypes; None where the engine refuses."""
    shop.progress("float64", engine)
    worker = shop.worker(f"float64 {engine}", engine)
    try:
        session = worker.open_source(engine, path, signature)
        return [session.run({k: widen_array(v) for k, v in sample.items()}) for sample in samples]
    except NeocError as error:
        shop.progress("float64", f"not available: {error}")
        return None
    finally:
        worker.close()
