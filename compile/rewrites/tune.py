"""Which way to rewrite a site: the site alone, each way, timed by the engine itself in one worker.

A rule with choices leaves to measurement how far it goes (how many phases, how large a tile), and for which sites it
goes at all. Sites that share a key are alike; the largest is measured for all of them.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import onnx_ir as ir

from neoc.compile import passes
from neoc.compile.answers import Sample
from neoc.compile.build import Workshop
from neoc.compile.contracts import Step, Target, Variant
from neoc.compile.errors import NeocError
from neoc.compile.measure import interleave
from neoc.compile.passes import graph as g
from neoc.compile.program import Program
from neoc.compile.rewrites.apply import Rewrite
from neoc.compile.rewrites.rule import Rule, Site, sites
from neoc.compile.rewrites.spec import LEFT
from neoc.compile.worker import Worker

KEY_S = 0.8
"""seconds of timing for the sites of one key"""
GAIN = 0.95
"""share of its time that a site must come down to, alone, to be rewritten"""


@dataclass(frozen=True)
class Tuned:
    """What the sites of one key do: their choice, and the time of every way, ns."""

    key: str
    choice: int
    ns: Mapping[int, float]
    sites: int

    def as_dict(self) -> dict[str, Any]:
        times = {str(way): round(ns) for way, ns in self.ns.items()}
        return {"key": self.key, "choice": self.choice, "ns": times, "sites": self.sites}


def concrete(program: Program, sample: Sample) -> Program:
    """`program` with its inputs fixed to the sizes of `sample`, and every shape that follows."""
    copy = program.clone()
    for value in copy.model.graph.inputs:
        array = sample.get(value.name or "")
        if isinstance(array, np.ndarray) and isinstance(value.type, ir.TensorType):
            value.shape = ir.Shape(list(array.shape))
    return passes.run(copy, (passes.TIDY,))


def tune(
    shop: Workshop, target: Target, step: Step, program: Program, rule: Rule, sample: Sample, deadline: float
) -> list[Tuned]:
    """The choice of every key of `rule` in `program`. Keys that the deadline leaves no time for stay as they are."""
    wanted = {_key(rule, site) for site in sites(program.model, rule, program.opset)}
    fixed = concrete(program, sample)
    largest: dict[str, Site] = {}
    counts: dict[str, int] = {}
    for site in sites(fixed.model, rule, fixed.opset):
        key = _key(rule, site)
        counts[key] = counts.get(key, 0) + 1
        if key in wanted and (key not in largest or _size(site) > _size(largest[key])):
            largest[key] = site
    found = {key: Tuned(key, LEFT, {}, counts.get(key, 0)) for key in wanted}
    worker = shop.worker(f"tune {step.engine}", step.engine, target)
    try:
        for key, site in sorted(largest.items(), key=lambda item: -_size(item[1])):
            if time.monotonic() < deadline:
                shop.progress("tune", f"{rule.name} {key} on {step.engine}")
                found[key] = _measure(shop, worker, target, step, rule, key, site, fixed, counts[key])
    finally:
        worker.close()
    return [found[key] for key in sorted(found)]


def _key(rule: Rule, site: Site) -> str:
    return "" if rule.key is None else rule.key(site)


def _size(site: Site) -> int:
    return prod(g.static_shape(site.output) or (1,))


def _measure(
    shop: Workshop,
    worker: Worker,
    target: Target,
    step: Step,
    rule: Rule,
    key: str,
    site: Site,
    program: Program,
    count: int,
) -> Tuned:
    alone = extract(program, site)
    feeds = _noise(alone)
    if feeds is None:
        shop.progress("tune", f"{rule.name} {key}: sizes that only a run tells; it stays as it is")
        return Tuned(key, LEFT, {}, count)
    timers = {}
    for way in (LEFT, *rule.ways(site)):
        try:
            made = passes.run(alone, (Rewrite(rule.name, ((key, way),)), passes.TIDY)) if way else alone
            session = _opened(shop, worker, target, step, made)
        except NeocError as error:
            shop.progress("tune", f"{rule.name} {key} by {way}: {error}")
            continue
        timers[str(way)] = lambda n, session=session: session.time(feeds, n)
    measured = interleave(timers, budget_s=KEY_S, block_s=0.01) if LEFT_NAME in timers else {}
    ns = {int(way): s.median_ns for way, s in measured.items() if not s.lost}
    best = min(ns, key=lambda way: ns[way], default=LEFT)
    if best != LEFT and (LEFT not in ns or ns[best] > GAIN * ns[LEFT]):
        best = LEFT
    return Tuned(key, best, ns, count)


LEFT_NAME = str(LEFT)


def _opened(shop: Workshop, worker: Worker, target: Target, step: Step, program: Program) -> Any:
    source, folder = shop.folder("site"), shop.folder("site-build")
    program.save(source)
    variant: Variant = step.variant
    built = worker.build(step.engine, source, target, variant, folder)
    return worker.open(step.engine, built.members, program.signature, variant, variant.threads, None)


def _noise(program: Program) -> dict[str, np.ndarray] | None:
    """A value for every input; None where a size hangs on values (behind NonZero, Compress), or a type is not known."""
    random = np.random.default_rng(0)
    feeds = {}
    for value in program.model.graph.inputs:
        shape, kind = g.static_shape(value), value.dtype
        if shape is None or kind is None:
            return None
        feeds[str(value.name)] = random.standard_normal(shape).astype(kind.numpy())
    return feeds


def extract(program: Program, site: Site) -> Program:
    """A program of the site's nodes alone. Its inputs are what they read from outside, save constants."""
    inside = {v for node in site.covered for v in node.outputs}
    values: dict[ir.Value, ir.Value] = {}
    inputs: list[ir.Value] = []
    constants: list[ir.Value] = []
    nodes = []
    for node in site.covered:
        for value in node.inputs:
            if value is None or value in inside or value in values:
                continue
            tensor = g.constant(value)
            copy = ir.Value(name=value.name, type=value.type, shape=value.shape, const_value=tensor)
            values[value] = copy
            (inputs if tensor is None else constants).append(copy)
        given = [None if v is None else values[v] for v in node.inputs]
        twin = ir.Node(node.domain, node.op_type, given, list(node.attributes.values()), num_outputs=len(node.outputs))
        for old, new in zip(node.outputs, twin.outputs, strict=True):
            new.name, new.type, new.shape = old.name, old.type, old.shape
            values[old] = new
        nodes.append(twin)
    opsets = {g.ONNX: program.opset}
    outputs = [values[value] for value in site.outputs]
    graph = ir.Graph(inputs, outputs, nodes=nodes, initializers=constants, opset_imports=opsets, name="site")
    model = ir.Model(graph, ir_version=program.model.ir_version)
    return replace(program, model=model, pre=(), post=(), unfolded=None)
