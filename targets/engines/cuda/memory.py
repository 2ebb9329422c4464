"""What a program needs of a device's memory, reckoned from its graph, and the gap where the device has less.

Weights once, and the values that live at the same time: at each node its inputs, its outputs and all that a later node
still reads (liveness in the order of the graph). The least that any engine can do with without recomputing; workspaces
come on top. Values of unknown size count as nothing, so a gap is certain and no gap proves nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from neoc.compile.contracts import Gap, Target, TensorSpec, dtype_of
from neoc.compile.program import spec_of

if TYPE_CHECKING:
    import onnx_ir as ir

    from neoc.compile.program import Program

SHARED_RESERVE = 2**30
"""bytes that the system of a Jetson takes of the memory it shares with the GPU: an idle JetPack, rounded down"""


@dataclass(frozen=True)
class Footprint:
    weight_bytes: int
    live_bytes: int
    """the most that inputs, outputs and intermediate values take at one time"""

    @property
    def total(self) -> int:
        return self.weight_bytes + self.live_bytes


def footprint(program: Program) -> Footprint:
    """Of one inference at the sizes that the program has."""
    graph = program.model.graph
    weights = sum(v.const_value.nbytes for v in graph.initializers.values() if v.const_value is not None)
    nodes = list(graph)
    last = _last_uses(graph, nodes)
    live = sum(_bytes(v) for v in graph.inputs if v.name not in graph.initializers)
    most = live
    for index, node in enumerate(nodes):
        live += sum(_bytes(v) for v in node.outputs)
        most = max(most, live)
        spent = {v for v in (*node.inputs, *node.outputs) if v is not None and last.get(v, -1) <= index}
        live -= sum(_bytes(v) for v in spent if v.const_value is None and v.producer() is not None)
    return Footprint(weights, most)


def _last_uses(graph: ir.Graph, nodes: list[ir.Node]) -> dict[ir.Value, int]:
    """value -> index of the last node that reads it, in its body or itself; the end for outputs of the graph."""
    last: dict[ir.Value, int] = {}
    for index, node in enumerate(nodes):
        inner = [n for a in node.attributes.values() for body in _bodies(a) for n in body.all_nodes()]
        for value in (v for n in (node, *inner) for v in n.inputs if v is not None):
            last[value] = index
    for value in graph.outputs:
        last[value] = len(nodes)
    return last


def _bodies(attribute: ir.Attr) -> tuple[ir.Graph, ...]:
    import onnx_ir as ir

    if attribute.type == ir.AttributeType.GRAPH:
        return (attribute.as_graph(),)
    return tuple(attribute.as_graphs()) if attribute.type == ir.AttributeType.GRAPHS else ()


def _bytes(value: ir.Value) -> int:
    spec: TensorSpec = spec_of(value)
    if not spec.is_static or spec.dtype in ("string", "sequence", "optional", "undefined"):
        return 0
    return prod(d for d in spec.shape or () if isinstance(d, int)) * dtype_of(spec.dtype).itemsize


def usable_bytes(target: Target) -> int | None:
    """Of the device's memory, what a model can have; None where the target does not say."""
    if target.memory_bytes is None:
        return None
    return target.memory_bytes - (SHARED_RESERVE if target.fact("host_arch") == "aarch64" else 0)


def memory_gaps(program: Program, target: Target, engine: str) -> tuple[Gap, ...]:
    """One gap where the program cannot fit the device, none where it can."""
    usable = usable_bytes(target)
    if usable is None:
        return ()
    needs = footprint(program)
    if needs.total <= usable:
        return ()
    reason = f"it needs at least {_gib(needs.total)} ({_gib(needs.weight_bytes)} of weights and "
    reason += f"{_gib(needs.live_bytes)} of values), and {target.title} has {_gib(usable)} for a model"
    suggestion = "bind smaller sizes with --input, take a smaller model, or a device with more memory"
    return (Gap(engine, "", "", reason, suggestion=suggestion),)


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"
