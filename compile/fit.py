"""What a program asks of a device on paper: memory against the device's, and how much of it an engine leaves to others.

Both are bounds from below. Memory counts weights, and the values that live at once when nodes run in the order of the
graph; an engine adds its own code, copies and workspace to that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from neoc.compile.analysis import cost, node_flops
from neoc.compile.contracts import Gap, Target, dtype_of

if TYPE_CHECKING:
    import onnx_ir as ir

    from neoc.compile.program import Program


@dataclass(frozen=True)
class Memory:
    """Bytes that a program needs at least, and what the device has."""

    weights: int
    activations: int
    """the most that inputs, outputs and values between nodes take at once"""
    device: int | None
    unknown: int = 0
    """values whose size is not known, counted as nothing: bind the open dimensions with --input"""

    @property
    def total(self) -> int:
        return self.weights + self.activations

    @property
    def fits(self) -> bool:
        """False only where it cannot: what is not known, or not stated by the target, is no obstacle."""
        return self.device is None or self.total <= self.device

    def as_dict(self) -> dict[str, Any]:
        share = None if not self.device else round(self.total / self.device, 6)
        return {
            "weights": self.weights,
            "activations": self.activations,
            "at_least": self.total,
            "device": self.device,
            "share": share,
            "unknown_values": self.unknown,
            "fits": self.fits,
        }


def memory(program: Program, target: Target) -> Memory:
    """The memory that the program needs at least on the target."""
    peak, unknown = _peak(program)
    weights = cost(program).weight_bytes + sum(_attribute_bytes(node) for node in program.nodes())
    return Memory(weights, peak, target.memory_bytes, unknown)


def _peak(program: Program) -> tuple[int, int]:
    """(most bytes of values alive at once, number of values of unknown size), by the main graph's order of nodes.

    An input lives until its last use, an output until the end. Bodies of If and Loop are not entered.
    """
    graph = program.model.graph
    nodes = list(graph)
    last: dict[ir.Value, int] = {}
    for index, node in enumerate(nodes):
        for value in _read(node):
            last[value] = index
    for value in graph.outputs:
        last[value] = len(nodes)
    sizes: dict[ir.Value, int] = {}
    unknown = 0
    for value in (*graph.inputs, *(v for node in nodes for v in node.outputs)):
        if value in last:
            size = _bytes(value)
            unknown += size is None
            sizes[value] = size or 0
    ends: dict[int, list[ir.Value]] = {}
    for value in sizes:
        ends.setdefault(last[value], []).append(value)
    alive = peak = sum(sizes.get(value, 0) for value in graph.inputs)
    for index, node in enumerate(nodes):
        alive += sum(sizes.get(value, 0) for value in node.outputs)
        peak = max(peak, alive)
        alive -= sum(sizes[value] for value in ends.get(index, ()))
    return peak, unknown


def _read(node: ir.Node) -> list[ir.Value]:
    """What a node reads, in the bodies that it holds, too."""
    found = [value for value in node.inputs if value is not None]
    for attribute in node.attributes.values():
        value = attribute.value
        bodies = value if isinstance(value, list | tuple) else (value,)
        for body in bodies:
            if hasattr(body, "all_nodes"):
                found += [v for inner in body.all_nodes() for v in inner.inputs if v is not None]
    return found


def _bytes(value: ir.Value) -> int | None:
    if value.shape is None or value.dtype is None:
        return None
    dims = [d for d in value.shape if isinstance(d, int)]
    if len(dims) < len(value.shape):
        return None
    name = value.dtype.name.lower()
    if name in ("string", "undefined"):
        return None
    try:
        return prod(dims) * dtype_of({"float": "float32", "double": "float64"}.get(name, name)).itemsize
    except (AttributeError, TypeError):
        return None


def _attribute_bytes(node: ir.Node) -> int:
    """Numbers that a node holds in attributes: the ensembles of ai.onnx.ml. Four bytes each where they are a list."""
    if node.domain != "ai.onnx.ml":
        return 0
    values = [attribute.value for attribute in node.attributes.values()]
    return sum(v.nbytes if hasattr(v, "nbytes") else 4 * len(v) if isinstance(v, list | tuple) else 0 for v in values)


# ---- what an engine leaves to others ---------------------------------------------------------


def fallback_share(program: Program, gaps: Sequence[Gap]) -> dict[str, Any]:
    """How much of the program lies in nodes that an engine cannot take: of the nodes, and of the counted FLOPs.

    A gap of the program as a whole leaves all of it. `flops` is None where no operator is one that is counted.
    """
    nodes = list(program.nodes())
    named = {gap.node for gap in gaps}
    whole = any(not gap.operator for gap in gaps)
    left = [n for n in nodes if whole or (n.name or next((v.name for v in n.outputs if v.name), "")) in named]
    total = sum(node_flops(n) or 0 for n in nodes)
    flops = round(sum(node_flops(n) or 0 for n in left) / total, 6) if total else None
    return {"nodes": len(left), "of": len(nodes), "flops": flops}


def words(target: str, found: Memory) -> str:
    """One line about memory; '' where the target states none."""
    if found.device is None:
        return ""
    open_ = f"; {found.unknown} values of open size are not counted" if found.unknown else ""
    share = found.total / found.device
    verdict = f"{share:.3g} of" if found.fits else "more than"
    parts = f"{_size(found.weights)} weights, {_size(found.activations)} values alive at once"
    return (
        f"memory on {target}: at least {_size(found.total)} ({parts}), {verdict} the device's "
        f"{_size(found.device)}{open_}"
    )


def _size(count: int) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count} {unit}"
        count //= 1024
    return f"{count} GiB"


def left_words(share: Mapping[str, Any]) -> str:
    """'3 of 40 nodes, 12% of the FLOPs'."""
    flops = "" if share["flops"] is None else f", {100 * share['flops']:.3g}% of the FLOPs"
    return f"{share['nodes']} of {share['of']} nodes{flops}"
