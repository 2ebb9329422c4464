"""Where a wrong result begins: the first node whose value departs from the reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from neoc.compile import onnx_io, parity
from neoc.compile.build import Candidate, Workshop
from neoc.compile.contracts import Signature, Target
from neoc.compile.errors import NeocError
from neoc.compile.program import Program, spec_of
from neoc.compile.reference import oracles

PROBES = 8
"""values exposed in one round: a graph of 600 nodes takes three rounds"""


def first_departure(
    shop: Workshop,
    program: Program,
    target: Target,
    candidate: Candidate,
    sample: Mapping[str, np.ndarray],
    rtol: float,
    rehearsed_for: Target | None = None,
) -> str:
    """A phrase for the error message: the first departing node, or why it could not be found.

    Intermediate values are added as outputs, a few at a time, and both sides are run again on `sample`. Exposing a
    value keeps an engine from fusing across it, so a fault that lies in a fusion may vanish: then that is said.
    rehearsed_for: as in Worker.open.
    """
    nodes = [n for n in program.model.graph if any(_visible(v) for v in n.outputs)]
    if not nodes:
        return "no node of the main graph gives a tensor that could be looked at"
    low, high = 0, len(nodes)  # the culprit, if any, is in nodes[low:high]
    found = False
    while high - low > 1 or not found:
        indices = sorted({low + (high - low) * (i + 1) // (PROBES + 1) for i in range(PROBES)} | {high - 1})
        shop.progress("bisect", f"{high - low} nodes left")
        try:
            probes = [nodes[i] for i in indices]
            good = _agreement(shop, program, target, candidate, probes, sample, rtol, rehearsed_for)
        except NeocError as error:
            return f"the first departing node could not be found: {error.why or error.what}"
        bad = next((i for i, ok in zip(indices, good, strict=True) if not ok), None)
        if bad is None:
            place = "a fusion of the engine"
            if program.source is not None and program.source.converted is not None:
                place += f", or in the conversion of {program.provenance.name} to ONNX"
            return f"no single node departs once its value is exposed: the fault lies in {place}"
        found = True
        passed = [i for i, ok in zip(indices, good, strict=True) if ok and i < bad]
        low, high = (passed[-1] + 1 if passed else low), bad + 1
    return f"first departs at {_describe(nodes[low])}"


def _visible(value: ir.Value) -> bool:
    return bool(value.name) and isinstance(value.type, ir.TensorType)


def _describe(node: ir.Node) -> str:
    label = f"node {node.name!r} " if node.name else ""
    return f"{label}({node.op_type} -> {', '.join(repr(v.name) for v in node.outputs if v.name)})"


def _agreement(
    shop: Workshop,
    program: Program,
    target: Target,
    candidate: Candidate,
    probes: Sequence[ir.Node],
    sample: Mapping[str, np.ndarray],
    rtol: float,
    rehearsed_for: Target | None,
) -> list[bool]:
    """For each probe node, whether its values agree on both sides."""
    names = {v.name for n in probes for v in n.outputs if _visible(v)}
    exposed = _expose(program, {name for name in names if name is not None})
    want = _reference_values(shop, exposed, sample)
    got = _candidate_values(shop, exposed, target, candidate, sample, rehearsed_for)
    return [
        all(
            parity.compare(v.name, got.get(v.name), want.get(v.name), rtol).ok
            for v in node.outputs
            if v.name and _visible(v)
        )
        for node in probes
    ]


def _expose(program: Program, names: set[str]) -> Program:
    """A copy whose outputs are the named values (graph outputs among them stay outputs)."""
    copy = program.clone()
    graph = copy.model.graph
    values = {v.name: v for node in graph for v in node.outputs}
    outputs = [values[name] for name in sorted(names)]
    graph.outputs.clear()
    graph.outputs.extend(outputs)
    return copy


def _reference_values(shop: Workshop, exposed: Program, sample: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    path = shop.folder("probe") / "probe.onnx"
    onnx_io.write(exposed.model, path, data_name="probe.data")
    engine = oracles()[0]
    worker = shop.worker(f"probe {engine}", engine)
    try:
        return worker.open_source(engine, path, exposed.signature).run(sample)
    finally:
        worker.close()


def _candidate_values(
    shop: Workshop,
    exposed: Program,
    target: Target,
    candidate: Candidate,
    sample: Mapping[str, np.ndarray],
    rehearsed_for: Target | None,
) -> Mapping[str, np.ndarray]:
    step = candidate.step
    source, folder = shop.folder("probe"), shop.folder("probe-build")
    exposed.save(source)
    worker = shop.worker(f"probe {step.engine}", step.engine, target)
    try:
        built = worker.build(step.engine, source, target, step.variant, folder)
        signature = Signature(exposed.signature.inputs, tuple(spec_of(v) for v in exposed.model.graph.outputs))
        threads = step.variant.threads
        session = worker.open(
            step.engine, built.members, signature, step.variant, threads, None, rehearsed_for, built.mapped
        )
        return session.run(sample)
    finally:
        worker.close()
