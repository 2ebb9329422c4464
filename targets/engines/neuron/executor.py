"""Runs the bytes of an HLO module on this machine's CPU, by XLA: a second executor of what Neuron would be given.

The one module that uses private symbols of jaxlib; the extra `neuron-lower` pins the version that they are of. It
checks that the emitted bytes mean what the model says. It says nothing of a Neuron device: not whether the compiler
takes the module, not what precision it would keep, not how fast it would run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from neoc.compile.contracts import Feeds, TensorSpec

_FUSED = [("xla_cpu_experimental_ynn_fusion_type", "")]
"""XLA's CPU compiler of jaxlib 0.10.2 gives 0 (elsewhere inf) for the sum over a convolution whose kernel is a
broadcast constant, once it has fused the two for YNNPACK (tests/targets/engines/test_neuron_executor.py has it in
ten lines): no such fusions"""
_UNFUSED = [*_FUSED, ("xla_disable_hlo_passes", "fusion")]
"""Fusion computes what two readers need once for each, with other roundings: exp(mean(x) - max(mean(x))) overflows for
means of 1e10 (the same file). One kernel an instruction compiles ten times slower: only for results that are not
finite."""


class Executor:
    """A module, compiled for the CPU."""

    def __init__(self, module: bytes) -> None:
        self._module = module
        self._executable = _compiled(module, _FUSED)
        self._unfused: Any = None

    def __call__(self, arguments: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The module's results for its parameters, in order."""
        results = _executed(self._executable, arguments)
        if all(_is_finite(result) for result in results):
            return results
        self._unfused = self._unfused or _compiled(self._module, _UNFUSED)
        return _executed(self._unfused, arguments)


def _compiled(module: bytes, overrides: list[tuple[str, str]]) -> Any:
    from jax.extend.backend import get_backend
    from jaxlib import _hlo, _jax  # type: ignore[attr-defined]

    parsed = _hlo.HloModule.from_serialized_hlo_module_proto(module)
    computation = _hlo.XlaComputation(parsed.as_serialized_hlo_module_proto())
    client = get_backend("cpu")
    devices = _jax.DeviceList(tuple(client.devices()[:1]))
    text = _jax.mlir.xla_computation_to_mlir_module(computation)
    options = _jax.CompileOptions()
    options.env_option_overrides = overrides
    return client.compile_and_load(text, devices, options)


def _executed(executable: Any, arguments: Sequence[np.ndarray]) -> list[np.ndarray]:
    import jax

    with jax.enable_x64(True):  # else 64-bit arguments would be narrowed on their way in
        placed = [jax.device_put(np.asarray(a)) for a in arguments]
        return [np.asarray(result) for result in executable.execute(placed)]


def _is_finite(result: np.ndarray) -> bool:
    """True for what is no float."""
    return result.dtype.kind in "biu" or bool(np.isfinite(result.astype(np.float32, copy=False)).all())


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
