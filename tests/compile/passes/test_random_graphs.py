"""Graphs that hypothesis draws: DEFAULT keeps their outputs, changes nothing the second time, and spares its input.

Every graph mixes constants, shape arithmetic, no-ops, repeated nodes, constant and dynamic Ifs over captured values,
and layers; the outputs are checked to depend on the inputs wherever the source's do.
"""

from __future__ import annotations

import numpy as np
import onnx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from pass_programs import evaluate, program

from neoc.compile.passes import DEFAULT, run
from neoc.compile.program import Program

ROWS, COLUMNS = 2, 3

UNARY = ("Relu", "Neg", "Tanh", "Identity", "Abs", "Sigmoid", "Dropout", "Erf")
BINARY = ("Add", "Sub", "Mul", "Max")


class Builder:
    """Grows a graph over float tensors [n, 3]; `pool` holds the names that a node may read."""

    def __init__(self, draw: st.DrawFn, pool: list[str], prefix: str = "") -> None:
        self.draw, self.pool, self.prefix = draw, list(pool), prefix
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.count = 0

    def name(self) -> str:
        self.count += 1
        return f"{self.prefix}v{self.count}"

    def node(self, operator: str, *inputs: str, outputs: int = 1, **attributes: object) -> str:
        names = [self.name() for _ in range(outputs)]
        self.nodes.append(helper.make_node(operator, list(inputs), names, **attributes))
        return names[0]

    def constant(self, array: np.ndarray) -> str:
        name = self.name()
        if self.draw(st.booleans()):
            self.initializers.append(numpy_helper.from_array(array, name))
        else:
            self.nodes.append(helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array, name)))
        return name

    def any(self) -> str:
        return self.draw(st.sampled_from(self.pool))

    def row(self) -> str:
        values = self.draw(st.lists(st.sampled_from([-1.5, 0.0, 0.5, 1.0, 2.0]), min_size=COLUMNS, max_size=COLUMNS))
        return self.constant(np.array(values, np.float32))

    def step(self, depth: int) -> None:
        kind = self.draw(
            st.sampled_from(("unary", "binary", "constant", "no-op", "shape", "layer", "again", "if", "loop"))
        )
        value = {
            "unary": lambda: self.node(self.draw(st.sampled_from(UNARY)), self.any()),
            "binary": lambda: self.node(self.draw(st.sampled_from(BINARY)), self.any(), self.any()),
            "constant": self.folded_constant,
            "no-op": self.no_op,
            "shape": self.shape_chain,
            "layer": self.layer,
            "again": self.again,
            "if": lambda: self.branch(depth) if depth < 2 else self.no_op(),
            "loop": lambda: self.loop() if depth < 1 else self.no_op(),
        }[kind]()
        self.pool.append(value)

    def folded_constant(self) -> str:
        """A constant expression that may divide by zero."""
        operator = self.draw(st.sampled_from(("Add", "Div", "Pow", "Sub")))
        value = self.node(operator, self.row(), self.row())
        return self.node("Add", self.any(), value)

    def no_op(self) -> str:
        value = self.any()
        zero, end = np.array([0]), np.array([2**62])
        choices = {
            "cast": lambda: self.node("Cast", value, to=TensorProto.FLOAT),
            "transposed": lambda: self.node("Transpose", self.node("Transpose", value, perm=[1, 0]), perm=[1, 0]),
            "same": lambda: self.node("Transpose", value, perm=[0, 1]),
            "pad": lambda: self.node("Pad", value, self.constant(np.zeros(4, np.int64))),
            "slice": lambda: self.node("Slice", value, self.constant(zero), self.constant(end), self.constant(zero)),
            "times": lambda: self.node("Mul", value, self.constant(np.ones(1, np.float32))),
            "reshape": lambda: self.node("Reshape", value, self.constant(np.array([0, -1]))),
            "concat": lambda: self.node("Concat", value, axis=0),
        }
        return choices[self.draw(st.sampled_from(sorted(choices)))]()

    def shape_chain(self) -> str:
        """Reshape(x, Concat(Shape(x)[i], rest)) in both orders, so that one needs what is not known."""
        value = self.any()
        shape = self.node("Shape", value)
        index = self.draw(st.sampled_from((0, 1)))
        picked = self.node("Gather", shape, self.constant(np.array([index])))
        other = np.array([COLUMNS if index == 0 else -1])
        parts = [picked, self.constant(other)] if index == 0 else [self.constant(other), picked]
        return self.node("Reshape", value, self.node("Concat", *parts, axis=0))

    def layer(self) -> str:
        seed = self.draw(st.integers(0, 3))
        weight = np.random.default_rng(seed).standard_normal((COLUMNS, COLUMNS)).astype(np.float32) / 2
        return self.node("MatMul", self.any(), self.constant(weight))

    def again(self) -> str:
        """The last node once more."""
        if not self.nodes or len(self.nodes[-1].output) != 1 or self.nodes[-1].op_type in ("Constant", "If", "Loop"):
            return self.no_op()
        copy = onnx.NodeProto()
        copy.CopyFrom(self.nodes[-1])
        copy.output[0] = self.name()
        self.nodes.append(copy)
        return self.node("Sub", copy.output[0], self.any())

    def branch(self, depth: int) -> str:
        condition = "c" if self.draw(st.booleans()) else self.constant(np.array(self.draw(st.booleans())))
        bodies = {name: self.body(name, depth) for name in ("then_branch", "else_branch")}
        return self.node("If", condition, **bodies)

    def body(self, name: str, depth: int) -> onnx.GraphProto:
        # Both branches use the same names: legal, and what makes moving nodes between graphs risky.
        inner = Builder(self.draw, self.pool, f"{self.prefix}b")
        for _ in range(self.draw(st.integers(1, 3))):
            inner.step(depth + 1)
        output = inner.node("Identity", inner.pool[-1])
        return helper.make_graph(
            inner.nodes, name, [], [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)], inner.initializers
        )

    def loop(self) -> str:
        """Two or three rounds that also read a value from outside."""
        prefix = f"{self.prefix}{self.name()}l"
        inner = Builder(self.draw, [*self.pool, f"{prefix}s"], prefix)
        inner.step(1)
        step = inner.node("Tanh", inner.node("Add", f"{prefix}s", inner.pool[-1]))
        inner.nodes.append(helper.make_node("Identity", [f"{prefix}c"], [f"{prefix}d"]))
        body = helper.make_graph(
            inner.nodes,
            "body",
            [
                helper.make_tensor_value_info(f"{prefix}i", TensorProto.INT64, []),
                helper.make_tensor_value_info(f"{prefix}c", TensorProto.BOOL, []),
                helper.make_tensor_value_info(f"{prefix}s", TensorProto.FLOAT, None),
            ],
            [
                helper.make_tensor_value_info(f"{prefix}d", TensorProto.BOOL, []),
                helper.make_tensor_value_info(step, TensorProto.FLOAT, None),
            ],
            inner.initializers,
        )
        trips = self.constant(np.array(self.draw(st.sampled_from((2, 3)))))
        return self.node("Loop", trips, self.constant(np.array(True)), self.any(), body=body)


@st.composite
def graphs(draw: st.DrawFn) -> Program:
    builder = Builder(draw, ["x"])
    for _ in range(draw(st.integers(2, 9))):
        builder.step(0)
    made = [n.output[0] for n in builder.nodes if n.output[0] in builder.pool]
    wanted = draw(st.lists(st.sampled_from(made), min_size=1, max_size=3, unique=True)) if made else []
    if builder.pool[-1] not in wanted:
        wanted.append(builder.pool[-1])
    rows: int | str = draw(st.sampled_from((ROWS, "n")))
    proto = helper.make_model(
        helper.make_graph(
            builder.nodes,
            "drawn",
            [
                helper.make_tensor_value_info("x", TensorProto.FLOAT, [rows, COLUMNS]),
                helper.make_tensor_value_info("c", TensorProto.BOOL, []),
            ],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in wanted],
            builder.initializers,
        ),
        opset_imports=[helper.make_opsetid("", draw(st.sampled_from((13, 15, 17, 21))))],
        ir_version=8,
    )
    return program(proto)


@settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(graphs())
def test_drawn_graphs_keep_their_outputs(before: Program) -> None:
    digest = before.digest
    after = run(before, DEFAULT)
    assert before.digest == digest
    assert run(after, DEFAULT).digest == after.digest
    assert after.opset >= 14
    results = []
    for seed, condition in ((0, True), (1, False), (2, True)):
        x = np.random.default_rng(seed).standard_normal((ROWS, COLUMNS)).astype(np.float32)
        feeds = {"x": x, "c": np.array(condition)}
        wanted, found = evaluate(before, feeds), evaluate(after, feeds)
        for a, b in zip(wanted, found, strict=True):
            assert a.shape == b.shape
            np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-4, equal_nan=True)
        results.append((wanted, found))
    for k in range(len(results[0][0])):
        moves = [not np.array_equal(results[0][side][k], results[2][side][k], equal_nan=True) for side in (0, 1)]
        assert moves[0] == moves[1]


def test_most_drawn_graphs_depend_on_their_input() -> None:
    """Agreement proves something only where the outputs move."""
    moved: list[bool] = []

    @settings(max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(graphs())
    def look(before: Program) -> None:
        first, second = (
            evaluate(before, {"x": np.full((ROWS, COLUMNS), v, np.float32), "c": np.array(True)}) for v in (0.3, 0.8)
        )
        moved.append(any(not np.array_equal(a, b, equal_nan=True) for a, b in zip(first, second, strict=True)))

    look()
    assert sum(moved) > 0.7 * len(moved)
