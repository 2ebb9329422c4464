"""Small torch models for tests of the PyTorch front ends; imports torch when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def net() -> Any:
    """Convolution, batch normalisation with statistics of its own, a linear layer; two named outputs."""
    import torch

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 8, 3, padding=1)
            self.norm = torch.nn.BatchNorm2d(8)
            self.fc = torch.nn.Linear(8, 4)

        def forward(self, image: Any) -> dict[str, Any]:
            features = torch.relu(self.norm(self.conv(image))).mean((2, 3))
            return {"logits": self.fc(features), "features": features}

    torch.manual_seed(0)
    model = Net().eval()
    model.norm.running_mean.uniform_(-0.5, 0.5)
    model.norm.running_var.uniform_(0.5, 2)
    return model


def exported(path: Path) -> Path:
    """`net` with open batch, height and width, saved by torch.export."""
    import torch

    dim = torch.export.Dim.DYNAMIC
    program = torch.export.export(net(), (torch.randn(2, 3, 20, 24),), dynamic_shapes=({0: dim, 2: dim, 3: dim},))
    torch.export.save(program, path)
    return path


def unsupported() -> Any:
    """Three operators without an ONNX form, in three layers, behind and before ones that have one."""
    import torch

    class Bessel(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return torch.special.bessel_j0(x)

    class Gamma(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return torch.lgamma(x.abs() + 1)

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = torch.nn.Linear(4, 4)
            self.first = Bessel()
            self.last = torch.nn.Sequential(Gamma(), torch.nn.ReLU())

        def forward(self, x: Any) -> Any:
            return self.last(self.first(self.linear(x))) + torch.special.bessel_y1(x.abs() + 1)

    return Net().eval()


def mlp() -> Any:
    """Two linear layers and a branch on the number of rows: small enough to be damaged hundreds of times."""
    import torch

    class Mlp(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = torch.nn.Linear(4, 6)
            self.two = torch.nn.Linear(6, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            hidden = torch.relu(self.one(x))
            if x.shape[0] > 1:
                hidden = hidden * 2.0
            return self.two(hidden)

    torch.manual_seed(1)
    return Mlp().eval()
