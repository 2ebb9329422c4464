"""Programs for the rules about transposed convolutions whose windows do not overlap."""

from __future__ import annotations

from rewrite_cases_moves import Case, Make, array, made


def deconv(
    attributes: str = "strides = [2, 2]", weight: tuple[int, ...] = (4, 3, 2, 2), opset: int = 17, bias: int = 0
) -> Make:
    text = f"(float[2,4,3,5] x) => (float y) {{ y = ConvTranspose <{attributes}> (x, w, b) }}"
    return made(text, opset, w=array(*weight), b=array(bias or weight[1]))


DECONV: Case = (
    deconv(),
    {
        "opset": deconv(opset=10),
        "stride": deconv("strides = [2, 3]"),
        "pad": deconv("strides = [2, 2], pads = [1, 0, 0, 1]"),
        "dilation": deconv("strides = [2, 2], dilations = [2, 2]"),
        "group": deconv("strides = [2, 2], group = 2", bias=6),
    },
)


def deep(layer: str = "Conv (d, w, b)", mode: str = "DCR", weight: tuple[int, ...] = (2, 3, 1, 1)) -> Make:
    text = f"""(float[2,12,3,5] x) => (float y) {{ d = DepthToSpace <blocksize = 2, mode = "{mode}"> (x)
        y = {layer} }}"""
    return made(text, w=array(*weight), b=array(weight[0]))


DEEP: Case = (
    deep(),
    {
        "mode": deep(mode="CRD"),
        "broadcast": deep("Add(d, w)", weight=(3, 6, 1)),
        "kernel": deep(weight=(2, 3, 3, 1)),
        "stride": deep("Conv <strides = [2, 1]> (d, w, b)"),
        "pad": deep("Conv <pads = [1, 0, 0, 0]> (d, w, b)"),
        "group": deep("Conv <group = 3> (d, w, b)", weight=(3, 1, 1, 1)),
    },
)

DECONVS: dict[str, Case] = {"deconv-as-conv": DECONV, "depth-sinks": DEEP}
