"""Runs the bytes of an HLO module on this machine's CPU, by XLA: a second executor of what Neuron would be given.

The one module that uses private symbols of jaxlib; the extra `neuron-lower` pins the version that they are of. It
checks that the emitted bytes mean what the model says. It says nothing of a Neuron device: not whether the compiler
takes the module, not what precision it would keep, not how fast it would run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from neoc.compile.contracts import Feeds, TensorSpec


class Executor:
    """A module, compiled for the CPU."""

    def __init__(self, module: bytes) -> None:
        from jax.extend.backend import get_backend
        from jaxlib import _hlo, _jax  # type: ignore[attr-defined]

        parsed = _hlo.HloModule.from_serialized_hlo_module_proto(module)
        computation = _hlo.XlaComputation(parsed.as_serialized_hlo_module_proto())
        client = get_backend("cpu")
        devices = _jax.DeviceList(tuple(client.devices()[:1]))
        text = _jax.mlir.xla_computation_to_mlir_module(computation)
        self._executable = client.compile_and_load(text, devices, _jax.CompileOptions())

    def __call__(self, arguments: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The module's results for its parameters, in order."""
        import jax

        with jax.enable_x64(True):  # else 64-bit arguments would be narrowed on their way in
            placed = [jax.device_put(np.asarray(a)) for a in arguments]
            return [np.asarray(result) for result in self._executable.execute(placed)]


def run(
    module: bytes,
    parameters: Sequence[TensorSpec],
    weights: Mapping[str, np.ndarray],
    results: Sequence[TensorSpec],
    feeds: Feeds,
) -> dict[str, np.ndarray]:
    """The outputs by name; `parameters`, `weights` and `results` as in `Lowered` or in the member io.json."""
    arguments = [weights[p.name] if p.name in weights else feeds[p.name] for p in parameters]
    outputs = Executor(module)(arguments)
    return {spec.name: value for spec, value in zip(results, outputs, strict=True)}
