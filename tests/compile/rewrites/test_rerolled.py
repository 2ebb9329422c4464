"""Loops over cells as PyTorch exports them become the operator, and compute what PyTorch computes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pass_programs import evaluate, operators
from rewrite_cases_recurrent import chain, scan

from neoc.compile import passes
from neoc.compile.options import CompileOptions
from neoc.compile.pipeline import lower
from neoc.compile.rewrites import by_name, rewrite_passes, sites


def _loop(kind: str) -> Any:
    """A module that runs nn.LSTMCell or nn.GRUCell over the second axis and stacks what it gives."""
    import torch
    from torch import nn

    class Loop(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell: Any = nn.LSTMCell(8, 16) if kind == "LSTM" else nn.GRUCell(8, 16)
            self.head = nn.Linear(16, 4)

        def forward(self, x: Any) -> Any:
            state = x.new_zeros(x.shape[0], 16)
            memory, seen = state, []
            for t in range(x.shape[1]):
                if kind == "LSTM":
                    state, memory = self.cell(x[:, t], (state, memory))
                else:
                    state = self.cell(x[:, t], state)
                seen.append(state)
            return self.head(torch.stack(seen, 1))

    torch.manual_seed(0)
    return Loop().eval()


@pytest.mark.needs("torch")
@pytest.mark.parametrize(("kind", "steps"), [("LSTM", 6), ("GRU", 5)])
def test_a_loop_of_pytorch(kind: str, steps: int) -> None:
    """The first step of a GRU, whose state is zeros, is folded beyond recognition and stays by itself."""
    import torch

    module, samples = _loop(kind), [torch.randn(2, 6, 8) for _ in range(2)]
    before = lower(module, CompileOptions(example_inputs=(samples[0],)))
    (site,) = sites(before.model, by_name("rerolled"), before.opset)
    assert len(site["chain"].links) == steps
    after = passes.run(before, rewrite_passes("rerolled"))
    assert operators(after).count(kind) == 1
    assert "Concat" not in operators(after) or kind == "GRU"  # PyTorch's stack is the history itself
    seen = []
    for x in samples:
        (name,) = [spec.name for spec in after.signature.inputs]
        (found,) = evaluate(after, {name: x.numpy()})
        np.testing.assert_allclose(found, module(x).detach().numpy(), rtol=1e-4, atol=1e-5)
        seen.append(found)
    assert not np.allclose(seen[0], seen[1])


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
@pytest.mark.parametrize("form", ["torch", "joined", "gates"])
def test_every_way_of_writing_a_cell_is_read(kind: str, form: str) -> None:
    before = chain(kind, 4, form=form)()
    (site,) = sites(before.model, by_name("rerolled"), before.opset)
    assert len(site["chain"].links) == 4


def test_a_step_of_other_weights_ends_the_chain() -> None:
    before = chain("LSTM", 4, spoiler="other weights")()
    found = [len(site["chain"].links) for site in sites(before.model, by_name("rerolled"), before.opset)]
    assert found == [2]  # steps 3 and 4; the second is of other weights, the first alone


@pytest.mark.parametrize("form", ["torch", "joined", "gates"])
@pytest.mark.parametrize(("kind", "loop"), [("LSTM", False), ("LSTM", True), ("GRU", False)])
def test_loops_over_a_cell_are_read(kind: str, loop: bool, form: str) -> None:
    before = scan(kind, form=form, loop=loop)()
    (site,) = sites(before.model, by_name("recurrent-loop"), before.opset)
    assert site["loop"].step.kind == kind
    after = passes.run(before, rewrite_passes("recurrent-loop"))
    assert kind in operators(after)
    assert not {"Scan", "Loop"} & set(operators(after))
