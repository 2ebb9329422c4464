"""LSTM and GRU: one operator each, whatever their length, and right at lengths that nobody exported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neoc.compile import CompileOptions, compile_model
from neoc.compile.options import InputBinding
from neoc.targets import open_artifact

pytestmark = pytest.mark.needs("torch", "onnxscript")


def _network(kind: str, **options: Any) -> Any:
    import torch

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cells = getattr(torch.nn, kind)(3, 4, **options)
            self.head = torch.nn.Linear(8 if options.get("bidirectional") else 4, 2)

        def forward(self, x: Any) -> dict[str, Any]:
            steps, last = self.cells(x)
            return {"scores": self.head(steps), "last": last[0] if isinstance(last, tuple) else last}

    torch.manual_seed(0)
    return Network().eval()


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("LSTM", {"batch_first": True, "bidirectional": True, "num_layers": 2}),
        pytest.param("LSTM", {}, marks=pytest.mark.slow),
        pytest.param("GRU", {"num_layers": 2}, marks=pytest.mark.slow),
        pytest.param("GRU", {"batch_first": True, "bidirectional": True}, marks=pytest.mark.slow),
    ],
)
def test_the_length_stays_open(kind: str, options: dict[str, Any], tmp_path: Path) -> None:
    import torch

    model = _network(kind, **options)
    asked = CompileOptions(inputs={"x": InputBinding(("A", "B", 3))}, race_seconds=0.3, engines=("onnxruntime",))
    artifact = compile_model(model, "host", asked, output=tmp_path / "m.neoc", example_inputs=(torch.randn(2, 7, 3),))
    assert artifact.signature.inputs[0].shape == ("A", "B", 3)
    program = artifact.program()
    recurrences = [node for node in program.nodes() if node.op_type in ("LSTM", "GRU", "Loop", "Scan")]
    assert [node.op_type for node in recurrences] == [kind] * options.get("num_layers", 1)
    with open_artifact(artifact.path, threads=1) as session, torch.no_grad():
        for shape in ((5, 1, 3), (4, 31, 3)):
            x = np.random.default_rng(2).normal(size=shape).astype(np.float32)
            want, got = model(torch.from_numpy(x)), session.run({"x": x})
            for name, tensor in want.items():
                np.testing.assert_allclose(got[name], tensor.numpy(), rtol=1e-4, atol=1e-6)


def test_nothing_stays_changed() -> None:
    """Outside the block PyTorch's own decomposition is in force again, and inside it real tensors get real values."""
    import torch

    from neoc.compile.frontends.torch_recurrent import whole_recurrences

    cells = torch.nn.LSTM(3, 4)
    x = torch.randn(5, 2, 3)
    want = cells(x)[0]
    before = dict(torch.ops.aten.lstm.input.py_kernels)
    with whole_recurrences():
        assert dict(torch.ops.aten.lstm.input.py_kernels) != before
        torch.testing.assert_close(cells(x)[0], want)
    assert dict(torch.ops.aten.lstm.input.py_kernels) == before
    torch.testing.assert_close(cells(x)[0], want)
