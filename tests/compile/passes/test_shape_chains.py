"""Real models at fixed sizes: what only computed shapes is gone, and what is left depends on the open size alone."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from neoc.compile.frontends import load
from neoc.compile.options import InputBinding
from neoc.compile.passes import DEFAULT, run
from neoc.compile.program import Program

OF_SHAPES = {"Shape", "Size", "ConstantOfShape", "Range", "Expand", "Tile", "If", "NonZero"}


def shapes(program: Program) -> Counter[str]:
    return Counter(node.op_type for node in program.nodes() if node.op_type in OF_SHAPES)


@pytest.mark.parametrize(
    "name",
    [
        "silero_vad_openvino_16k",
        "silero_vad_16k_sequence",
        "ppocrv4_det",
        "ppocr_cls",
        "magika",
        pytest.param("basic_pitch", marks=pytest.mark.slow),
    ],
)
def test_at_fixed_sizes_no_shape_is_computed(zoo: Any, name: str) -> None:
    sizes = {key: InputBinding(array.shape) for key, array in zoo.samples(name)[0].items()}
    bound = run(load(zoo(name), sizes), DEFAULT)
    assert not shapes(bound)
    if name == "magika":  # its batch is open otherwise, which several shapes hang on
        assert shapes(run(load(zoo(name), {}), DEFAULT))["Expand"] >= 5
