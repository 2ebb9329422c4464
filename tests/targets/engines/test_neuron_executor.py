"""The second executor: the bytes of a module on XLA's CPU, and two faults of it that are steered around."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from small_models import model_of, program, tensor

from neoc.targets.engines.neuron import executor
from neoc.targets.engines.neuron.lower import lower

pytestmark = pytest.mark.needs("jax")
X = np.random.default_rng(0).random((1, 512, 13, 13), np.float32)
BIAS = np.full(1000, 0.5, np.float32)


def pooled() -> onnx.ModelProto:
    """The end of the light squeezenet: a 1x1 convolution with constant weights, Relu, mean over all pixels."""
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["w"], value=helper.make_tensor("v", 1, [1], [0.02])),
        helper.make_node("Conv", ["x", "w", "b"], ["c"]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["y"]),
    ]
    shape = np.array([1000, 512, 1, 1], np.int64)
    return model_of(nodes, [tensor("x", [1, 512, 13, 13])], [tensor("y", [1, 1000, 1, 1])], shape=shape, b=BIAS)


def test_a_mean_over_a_convolution_with_constant_weights_is_no_zero() -> None:
    low = lower(program(pooled()))
    found = executor.run(low.module, low.parameters, low.weights, low.results, {"x": X})["y"]
    wanted = (0.02 * X.sum(1) + 0.5).mean()
    np.testing.assert_allclose(found, np.full((1, 1000, 1, 1), wanted), rtol=1e-5)


def test_the_fault_that_is_steered_around() -> None:
    """XLA's own answer, in ten lines: with its default options right, 0 or inf, as the processor has it; with the
    override: right on each.
    """
    import jax
    from jax import lax
    from jax import numpy as jnp

    def f(x: Any, bias: Any) -> Any:
        kernel = jnp.full((1000, 512, 1, 1), 0.02, jnp.float32)
        y = lax.conv_general_dilated(x, kernel, (1, 1), [(0, 0), (0, 0)])
        return jnp.sum(jnp.maximum(y + bias[:, None, None], 0), (2, 3))

    lowered = jax.jit(f).lower(X, BIAS)
    wanted = np.full((1, 1000), (0.02 * X.sum(1) + 0.5).sum())
    steered = lowered.compile(compiler_options=dict(executor._FUSED))(X, BIAS)
    np.testing.assert_allclose(steered, wanted, rtol=1e-4)


def test_what_fusion_makes_overflow_is_computed_again_without_it() -> None:
    """The light squeezenet's NaN: every logit is the same 1e10, and its distance to the largest must be 0."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["m"]),
        helper.make_node("Flatten", ["m"], ["f"]),
        helper.make_node("Softmax", ["f"], ["y"], axis=1),
    ]
    source = model_of(nodes, [tensor("x", [1, 1000, 13, 13])], [tensor("y", [1, 1000])])
    low = lower(program(source))
    one = np.random.default_rng(0).random((1, 1, 13, 13), np.float32) * 2e10
    x = np.broadcast_to(one, (1, 1000, 13, 13)).copy()
    found = executor.run(low.module, low.parameters, low.weights, low.results, {"x": x})["y"]
    np.testing.assert_allclose(found, np.full((1, 1000), 1e-3), rtol=1e-5)


def test_values_that_the_model_itself_makes_infinite_stay_so() -> None:
    source = model_of([helper.make_node("Log", ["x"], ["y"])], [tensor("x", [3])], [tensor("y", [3])])
    low = lower(program(source))
    found = executor.run(low.module, low.parameters, low.weights, low.results, {"x": np.float32([0, 1, -1])})["y"]
    assert (found[0], found[1], np.isnan(found[2])) == (-np.inf, 0, True)
