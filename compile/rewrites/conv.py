"""What the rules about convolutions share: the numbers of one Conv, and the guards that ask about them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from neoc.compile.passes import graph as g
from neoc.compile.rewrites.rule import Guard, Site

LIMIT = 1 << 24
"""values of weights above which a rule keeps its hands off"""


@dataclass(frozen=True)
class Conv:
    """One Conv with fixed weights, its defaults written out. `pads`: begins, then ends."""

    weight: ir.TensorProtocol
    bias: ir.Value | None
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]
    group: int
    auto_pad: str
    spatial: tuple[int | None, ...]
    """of the input; None where a size is only known at run"""
    batch: int | None

    @property
    def kernel(self) -> tuple[int, ...]:
        return self.shape[2:]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(int(d) for d in self.weight.shape.numpy())

    def out(self, axis: int) -> int:
        """The size of the result along spatial axis `axis`, whose input size must be known."""
        size = self.spatial[axis]
        assert size is not None
        reach = (self.kernel[axis] - 1) * self.dilations[axis] + 1
        return (size + self.pads[axis] + self.pads[axis + len(self.kernel)] - reach) // self.strides[axis] + 1

    def weights(self) -> np.ndarray:
        """In double precision: rules compute in it and round once, at the end."""
        return self.weight.numpy().astype(np.float64)

    def key(self) -> str:
        """What its speed hangs on, the size of the input left out."""
        shape = "x".join(map(str, self.shape))
        return f"{shape}/{'.'.join(map(str, self.strides))}"


def find_conv(node: ir.Node, opset: int) -> Site | None:
    """A Conv whose weights are fixed and whose rank is known."""
    weight = g.constant(node.inputs[1])
    value = node.inputs[0]
    if weight is None or value is None or value.shape is None or weight.size > LIMIT:
        return None
    dims = [d if isinstance(d, int) else None for d in value.shape]
    axes = len(dims) - 2
    if axes < 1 or len(weight.shape.numpy()) != axes + 2:
        return None
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    auto_pad = node.attributes["auto_pad"].as_string() if "auto_pad" in node.attributes else "NOTSET"
    pads = g.attribute_ints(node, "pads") or [0] * (2 * axes)
    found = Conv(
        weight,
        bias,
        tuple(g.attribute_ints(node, "strides") or [1] * axes),
        tuple(g.attribute_ints(node, "dilations") or [1] * axes),
        tuple(pads),
        g.attribute_int(node, "group", 1),
        auto_pad,
        tuple(dims[2:]),
        dims[0],
    )
    return Site(node, opset, facts={"conv": found})


def is_float(site: Site) -> bool:
    """float32 in and out: in fewer bits another order of additions shows, and double is nobody's fast path."""
    value = site.node.inputs[0]
    return value is not None and value.dtype == ir.DataType.FLOAT


DTYPE = Guard("dtype", is_float)
GROUP = Guard("group", lambda site: site["conv"].group == 1)
AUTO_PAD = Guard("auto_pad", lambda site: site["conv"].auto_pad in ("NOTSET", "VALID"))
"""SAME depends on the size at run. VALID beside `pads` is refused by the standard"""
DILATION = Guard("dilation", lambda site: all(d == 1 for d in site["conv"].dilations))
STRIDE = Guard("stride", lambda site: all(s == 1 for s in site["conv"].strides))
