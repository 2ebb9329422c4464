"""Variables become constants."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from neoc.compile.frontends.tf_runtime import explained, tensorflow


def freeze(session: Any, outputs: Iterable[str], where: str) -> Any:
    """The GraphDef behind `outputs` (tensor names) with the values that the session's variables have now."""
    tensorflow()
    from tensorflow.python.framework import convert_to_constants

    nodes = sorted({name.split(":")[0] for name in outputs})
    with explained(
        where, "the model's variables cannot be made constants", "export it for inference, without training ops"
    ):
        return convert_to_constants.convert_variables_to_constants_from_session_graph(session, session.graph_def, nodes)


def freeze_function(function: Any, where: str) -> tuple[Any, list[str], list[str]]:
    """(GraphDef, inputs, outputs) of a concrete function: tensor names in the order of its flat signature."""
    tensorflow()
    from tensorflow.python.framework import convert_to_constants

    with explained(where, "the model's variables cannot be made constants", "export it for inference"):
        frozen = convert_to_constants.convert_variables_to_constants_v2(function, lower_control_flow=False)
    captured = {tensor.name for tensor in frozen.inputs}
    inputs = [tensor.name for tensor in frozen.inputs if tensor.dtype.name != "resource"]
    assert captured
    return frozen.graph.as_graph_def(), inputs, [tensor.name for tensor in frozen.outputs]
