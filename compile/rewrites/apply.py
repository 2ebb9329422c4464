"""The pass that applies rules of the table, and the passes that belong around it."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from neoc.compile import passes
from neoc.compile.passes import TIDY, ConvertOpset, Pass
from neoc.compile.passes import graph as g
from neoc.compile.passes.convert_opset import HIGHEST
from neoc.compile.program import Program
from neoc.compile.rewrites.rule import Editor, Rule, Site
from neoc.compile.rewrites.spec import LEFT, Spec
from neoc.compile.rewrites.table import by_name


@dataclass(frozen=True)
class Rewrite:
    """Applies one rule wherever it fits. `choices`: key of a site -> how it is rewritten, see `spec`."""

    rule: str
    choices: tuple[tuple[str, int], ...] = ()

    def __call__(self, program: Program) -> Program:
        return rewritten(program, by_name(self.rule), dict(self.choices))


def rewritten(program: Program, rule: Rule, choices: dict[str, int]) -> Program:
    """`program` after `rule`; the same object where it fits nowhere."""
    if not any(node.op_type in rule.anchors for node in program.nodes()):
        return program
    copy = program.clone()
    names = g.Names(copy.model)
    did = once = _round(copy, rule, choices, names)
    while rule.repeats and once:
        once = _round(copy, rule, choices, names)
    return g.changed(program, copy, did)


def _round(copy: Program, rule: Rule, choices: dict[str, int], names: g.Names) -> bool:
    did = False
    for graph in g.graphs(copy.model):
        for node in list(graph):
            if node.graph is not graph:
                continue  # an earlier site of this pass took it away
            site = rule.site(node, copy.opset)
            if site is not None:
                did |= _replace(rule, site, choices, names)
    return did


def _replace(rule: Rule, site: Site, choices: dict[str, int], names: g.Names) -> bool:
    ways = rule.ways(site)
    key = "" if rule.key is None else rule.key(site)
    way = choices.get(key, ways[0] if ways else LEFT)
    if rule.choices is not None and way == LEFT:
        return False
    name = next((v.name for v in site.outputs if v.name), "")
    made = rule.rewrite(site, Editor(site.covered[-1], names, f"{name}/{rule.name}"), way)
    if made is None:
        return False
    for old, new in zip(site.outputs, (made,) if isinstance(made, ir.Value) else made, strict=True):
        new.type, new.shape = old.type, old.shape
        g.substitute(old, new, names)
    if site.remade and site.node.graph is not None:
        site.node.graph.sort()  # what reads the first of them may stand before the last, where all are made
    for node in reversed(site.covered):
        if node.graph is not None and not any(g.is_used(v) for v in node.outputs):
            g.discard(node)
    return True


def rewrite_passes(spec: Spec | str) -> tuple[Pass, ...]:
    """The passes that bring a program in normal form into the rewritten form that `spec` names."""
    found = Spec.parse(spec) if isinstance(spec, str) else spec
    return tuple(step for name, choices in found.rules for step in _steps(by_name(name), choices))


def _steps(rule: Rule, choices: tuple[tuple[str, int], ...]) -> list[Pass]:
    steps: list[Pass] = [ConvertOpset(rule.opset, HIGHEST), TIDY] if rule.opset > 1 else []
    clearing = [step for name in rule.around for step in _steps(by_name(name), ())]
    return [*steps, *clearing, Rewrite(rule.name, choices), TIDY, *clearing]


def brought_out(program: Program, rule: Rule) -> Program:
    """`program` just before `rule` is applied: at the version that it needs, its pattern brought out."""
    steps = _steps(rule, ())
    return passes.run(program, tuple(steps[: steps.index(Rewrite(rule.name))]))
