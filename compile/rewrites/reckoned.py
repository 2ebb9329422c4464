"""Rewrites for chips that are not here: nothing can be timed, so work is counted, on paper.

The work of a program is its FLOPs, and the bytes that its nodes read and write, weighed by the chip's balance: what it
can compute in the time that it takes to move a byte (Williams, Waterman, Patterson: Roofline, CACM 52(4), 2009), from
its documented figures, else by `BALANCE`. A rule stays where less is left to do. That is `modelled`, never a time; what
comes of it is built, and proven at the level that this machine reaches, like any other candidate.
"""

from __future__ import annotations

from math import prod

from neoc.compile import passes
from neoc.compile.analysis import cost
from neoc.compile.contracts import Target
from neoc.compile.errors import NeocError
from neoc.compile.passes import graph as g
from neoc.compile.program import Program
from neoc.compile.rewrites.apply import brought_out, rewrite_passes
from neoc.compile.rewrites.rule import Rule, Site, sites
from neoc.compile.rewrites.spec import LEFT, Spec

BALANCE = 10.0
"""FLOPs to a byte, of a chip whose documents say nothing: CPUs lie between 4 and 20"""
LESS = 0.98
"""a rule stays where the work with it is below this share of the work without"""
_FREE = frozenset(["Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Shape"])
"""operators that move nothing"""


def balance(target: Target) -> float:
    """FLOPs that the chip can do in the time of one byte, as documented."""
    peak = target.peak_flops.get("float32") or target.peak_flops.get("bfloat16")
    return peak.value / target.bandwidth.value if peak is not None and target.bandwidth is not None else BALANCE


def work(program: Program, per_byte: float) -> float | None:
    """FLOPs, and bytes in FLOPs; None where sizes are open. Every node's result is written once and read once."""
    reckoned = cost(program)
    if reckoned.uncounted:
        return None
    moved = float(reckoned.weight_bytes)
    for node in program.nodes():
        if node.domain == g.ONNX and node.op_type in _FREE:
            continue
        for value in node.outputs:
            shape = g.static_shape(value)
            if shape is None:
                if not g.is_used(value):
                    continue
                return None
            moved += 2.0 * prod(shape) * (value.dtype.itemsize if value.dtype is not None else 4)
    return reckoned.flops + per_byte * moved


def reckon(program: Program, target: Target, rules: tuple[Rule, ...]) -> tuple[Spec, list[tuple[str, int, float]]]:
    """The rules that leave less to do, one after another; for each that fits (rule, sites, work with / without)."""
    per_byte, spec, current, tried = balance(target), Spec(), program, list[tuple[str, int, float]]()
    before = work(program, per_byte)
    if before is None:
        return spec, tried
    for rule in rules:
        try:
            found = _sites(current, rule)
            best = min(_ways(program, spec, rule, found, per_byte), key=lambda way: way[1], default=None)
        except NeocError:  # a pass that cannot serve this program serves no chip
            continue
        if best is None:
            continue
        chosen, after = best
        tried.append((rule.name, len(found), after / before))
        if after < LESS * before:
            spec, before = chosen, after
            current = passes.run(program, rewrite_passes(spec))
    return spec, tried


def _sites(program: Program, rule: Rule) -> list[Site]:
    ready = brought_out(program, rule)
    return [*sites(ready.model, rule, ready.opset)]


def _ways(program: Program, spec: Spec, rule: Rule, found: list[Site], per_byte: float) -> list[tuple[Spec, float]]:
    """The program by each way of the rule, and its work. Kinds of site are settled one after another."""
    if not found:
        return []
    keys = {} if rule.key is None else {rule.key(site): site for site in found}
    if rule.choices is None or not keys:
        return _reckoned(program, [spec.plus(rule.name, {})], per_byte)
    chosen, made = dict.fromkeys(keys, LEFT), list[tuple[Spec, float]]()
    for key, site in keys.items():
        options = [spec.plus(rule.name, chosen | {key: way}) for way in (LEFT, *rule.ways(site))]
        each = _reckoned(program, options, per_byte)
        made = [min(each, key=lambda way: way[1])] if each else made
        chosen = dict(made[0][0].rules[-1][1]) if made else chosen
    return made


def _reckoned(program: Program, specs: list[Spec], per_byte: float) -> list[tuple[Spec, float]]:
    found = [(spec, work(passes.run(program, rewrite_passes(spec)), per_byte)) for spec in specs]
    return [(spec, count) for spec, count in found if count is not None]
