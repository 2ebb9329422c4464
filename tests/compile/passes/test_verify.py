"""Each rule of the verifier, broken by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest
from pass_programs import graph

from neoc.compile.passes import verify
from neoc.compile.program import Program

BODY = """(bool c, float[2] x) => (float[2] y) <float[2] w = {1.0, 2.0}> {
    a = Relu(x)
    b = If (c) <then_branch = t () => (float[2] r) { r = Add(a, w) }, else_branch = e () => (float[2] s) { s = Neg(a) }>
    z = LeakyRelu <alpha = 0.5> (b)
    y = Neg(z)
}"""


def _valid() -> Program:
    return graph(BODY)


def test_a_valid_program_has_no_fault() -> None:
    assert verify.first_fault(_valid()) is None


def _node(program: Program, operator: str) -> ir.Node:
    return next(n for n in program.nodes() if n.op_type == operator)


def _read_later(p: Program) -> None:
    _node(p, "Relu").replace_input_with(0, _node(p, "LeakyRelu").outputs[0])


def _read_removed(p: Program) -> None:
    relu = _node(p, "Relu")
    p.model.graph.remove(relu)


def _read_inner(p: Program) -> None:
    _node(p, "LeakyRelu").replace_input_with(0, _node(p, "Add").outputs[0])


def _yield_outer(p: Program) -> None:
    branch = _node(p, "If").attributes["then_branch"].as_graph()
    branch.outputs[0] = ir.Value(name="elsewhere")


def _shadow(p: Program) -> None:
    _node(p, "Add").outputs[0].name = "a"


def _unnamed(p: Program) -> None:
    _node(p, "Relu").outputs[0].name = ""


def _no_tensor(p: Program) -> None:
    p.model.graph.initializers["w"].const_value = None


def _misfiled(p: Program) -> None:
    node = _node(p, "LeakyRelu")
    node.attributes["alpha"].name = "beta"


def _reference(p: Program) -> None:
    _node(p, "LeakyRelu").attributes["alpha"] = ir.RefAttr("alpha", "outer", ir.AttributeType.FLOAT)


def _wrong_kind(p: Program) -> None:
    _node(p, "LeakyRelu").attributes["alpha"] = ir.Attr("alpha", ir.AttributeType.STRING, 3)


def _stray_reader(p: Program) -> None:
    ir.Node("", "Neg", [_node(p, "Relu").outputs[0]])


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (_read_later, "Relu reads 'z', but it is defined later or elsewhere"),
        (_read_removed, "reads 'a', but nothing defines it"),
        (_read_inner, "LeakyRelu reads 'r', but it is defined later or elsewhere"),
        (_yield_outer, "output 'elsewhere' is not defined in its graph"),
        (_shadow, "two values are named 'a'"),
        (_unnamed, "reads a value without a name"),
        (_no_tensor, "initializer 'w' has no tensor"),
        (_misfiled, "attribute 'beta' of LeakyRelu is filed as 'alpha'"),
        (_reference, "refers to a function's attribute outside any function"),
        (_wrong_kind, "attribute 'alpha' of LeakyRelu is no STRING: 3"),
        (_stray_reader, "'a' is still read by a removed node"),
    ],
)
def test_each_broken_rule_is_found(broken: Callable[[Program], None], message: str) -> None:
    program = _valid()
    broken(program)
    fault = verify.first_fault(program)
    assert fault is not None
    assert message in fault.message


def test_the_signature_keeps_names_and_dtypes() -> None:
    before = _valid().signature
    renamed = _valid()
    renamed.model.graph.outputs[0].name = "q"
    assert verify.signature_fault(before, renamed.signature) == "the outputs were y and are q"
    cast = _valid()
    cast.model.graph.outputs[0].type = ir.TensorType(ir.DataType.DOUBLE)
    assert verify.signature_fault(before, cast.signature) == "'y' was float32 and is float64"
    bound = _valid()
    value = bound.model.graph.inputs.pop(0)
    value.const_value = ir.tensor(np.array(True))
    bound.model.graph.register_initializer(value)
    assert verify.signature_fault(before, bound.signature) == "the inputs were c, x and are x"
    assert verify.signature_fault(before, bound.signature, frozenset({"c"})) is None
