"""Real PyTorch models whose packages hold weights without a graph: MiniLM-L6 (BERT) and MTCNN's P-, R- and O-Net.

The weights are the zoo's; the modules are written here from the papers (Wang et al. 2020, Zhang et al. 2016) and the
names in the state dicts, and exported by torch.export.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from neoc.bench import zoo


def minilm(folder: Path, steps: int = 32) -> tuple[Path, Path]:
    """MiniLM-L6 over `steps` tokens as an exported program, and an .npz of three sentences' worth of ids."""
    import torch
    from safetensors.torch import load_file

    (entry,) = zoo.fetch(["minilm"])
    model = _bert()
    state = {
        name: value for name, value in load_file(entry.path / "model.safetensors").items() if "position_ids" not in name
    }
    lacking, surplus = model.load_state_dict(state, strict=False)
    assert not lacking, lacking
    assert all(name.startswith("pooler.") for name in surplus), surplus
    random = np.random.default_rng(0)
    ids = random.integers(1000, 30000, (3, 1, steps))
    lengths = np.array([steps, steps // 2, 5])[:, None, None]
    mask = (np.arange(steps) < lengths).astype(np.int64)
    feeds = {"ids": (ids * mask).astype(np.int64), "mask": mask}
    return _exported(torch, model.eval(), "minilm", feeds, folder)


def pnet(folder: Path, height: int = 60, width: int = 80) -> tuple[Path, Path]:
    """MTCNN's P-Net over a picture of that size (multiples of 4) as an exported program, and an .npz of three."""
    return _mtcnn("pnet", _pnet(), (height, width), folder)


def rnet(folder: Path) -> tuple[Path, Path]:
    """MTCNN's R-Net over one crop as an exported program, and an .npz of three crops."""
    return _mtcnn("rnet", _rnet(), (24, 24), folder)


def onet(folder: Path) -> tuple[Path, Path]:
    """MTCNN's O-Net over one crop as an exported program, and an .npz of three crops."""
    return _mtcnn("onet", _onet(), (48, 48), folder)


def _mtcnn(name: str, model: Any, size: tuple[int, int], folder: Path) -> tuple[Path, Path]:
    import torch

    (entry,) = zoo.fetch(["mtcnn"])
    model.load_state_dict(torch.load(entry.path / f"{name}.pt", weights_only=True))
    crops = np.random.default_rng(0).standard_normal((3, 1, 3, size[0] // 4, size[1] // 4))
    smooth = np.kron(crops, np.ones((4, 4))).astype(np.float32)
    return _exported(torch, model.eval(), name, {"image": smooth}, folder)


def _exported(torch: Any, model: Any, name: str, feeds: dict[str, np.ndarray], folder: Path) -> tuple[Path, Path]:
    path, data = folder / f"{name}.pt2", folder / f"{name}.npz"
    example = tuple(torch.from_numpy(array[0]) for array in feeds.values())
    torch.export.save(torch.export.export(model, example), path)
    np.savez(data, **feeds)  # type: ignore[arg-type]
    return path, data


def _bert(width: int = 384, heads: int = 12, layers: int = 6) -> Any:
    import torch
    from torch import nn

    def named(**parts: Any) -> Any:
        return nn.ModuleDict(parts)

    def layer() -> Any:
        norm = [nn.LayerNorm(width, 1e-12) for _ in range(2)]
        attention = named(
            self=named(query=nn.Linear(width, width), key=nn.Linear(width, width), value=nn.Linear(width, width)),
            output=named(dense=nn.Linear(width, width), LayerNorm=norm[0]),
        )
        output = named(dense=nn.Linear(4 * width, width), LayerNorm=norm[1])
        return named(attention=attention, intermediate=named(dense=nn.Linear(width, 4 * width)), output=output)

    class Bert(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embeddings = named(
                word_embeddings=nn.Embedding(30522, width),
                position_embeddings=nn.Embedding(512, width),
                token_type_embeddings=nn.Embedding(2, width),
                LayerNorm=nn.LayerNorm(width, 1e-12),
            )
            self.encoder = named(layer=nn.ModuleList([layer() for _ in range(layers)]))

        def forward(self, ids: Any, mask: Any) -> Any:
            e = self.embeddings
            steps = torch.arange(ids.shape[1])
            kinds = torch.zeros_like(ids)
            x = e["word_embeddings"](ids) + e["position_embeddings"](steps) + e["token_type_embeddings"](kinds)
            x = e["LayerNorm"](x)
            bias = (1.0 - mask[:, None, None, :].float()) * -1e9
            for block in self.encoder["layer"]:
                x = self._block(block, x, bias)
            weights = mask.unsqueeze(-1).float()
            mean = (x * weights).sum(1) / weights.sum(1).clamp(min=1e-9)
            return nn.functional.normalize(mean, dim=1)

        def _block(self, block: Any, x: Any, bias: Any) -> Any:
            own, after = block["attention"]["self"], block["attention"]["output"]
            q, k, v = (own[n](x).reshape(*x.shape[:2], heads, -1).transpose(1, 2) for n in ("query", "key", "value"))
            weights = torch.softmax(q @ k.transpose(2, 3) / (width // heads) ** 0.5 + bias, -1)
            mixed = (weights @ v).transpose(1, 2).reshape(x.shape)
            x = after["LayerNorm"](x + after["dense"](mixed))
            inner = nn.functional.gelu(block["intermediate"]["dense"](x))
            return block["output"]["LayerNorm"](x + block["output"]["dense"](inner))

    return Bert()


def _pnet() -> Any:
    import torch
    from torch import nn

    class PNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for i, (a, b) in enumerate(((3, 10), (10, 16), (16, 32)), 1):
                setattr(self, f"conv{i}", nn.Conv2d(a, b, 3))
                setattr(self, f"prelu{i}", nn.PReLU(b))
            self.conv4_1, self.conv4_2 = nn.Conv2d(32, 2, 1), nn.Conv2d(32, 4, 1)

        def forward(self, image: Any) -> dict[str, Any]:
            x = image
            for i in (1, 2, 3):
                x = getattr(self, f"prelu{i}")(getattr(self, f"conv{i}")(x))
                x = nn.functional.max_pool2d(x, 2, 2, ceil_mode=True) if i == 1 else x
            return {"box": self.conv4_2(x), "face": torch.softmax(self.conv4_1(x), 1)}

    return PNet()


def _rnet() -> Any:
    import torch
    from torch import nn

    class RNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for i, (a, b, k) in enumerate(((3, 28, 3), (28, 48, 3), (48, 64, 2)), 1):
                setattr(self, f"conv{i}", nn.Conv2d(a, b, k))
                setattr(self, f"prelu{i}", nn.PReLU(b))
            self.dense4, self.prelu4 = nn.Linear(576, 128), nn.PReLU(128)
            self.dense5_1, self.dense5_2 = nn.Linear(128, 2), nn.Linear(128, 4)

        def forward(self, image: Any) -> dict[str, Any]:
            x = image
            for i, size in enumerate((3, 3, 0), 1):
                x = getattr(self, f"prelu{i}")(getattr(self, f"conv{i}")(x))
                x = nn.functional.max_pool2d(x, size, 2, ceil_mode=True) if size else x
            x = self.prelu4(self.dense4(x.permute(0, 3, 2, 1).reshape(x.shape[0], -1)))
            return {"box": self.dense5_2(x), "face": torch.softmax(self.dense5_1(x), 1)}

    return RNet()


def _onet() -> Any:
    import torch
    from torch import nn

    class ONet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for i, (a, b, k) in enumerate(((3, 32, 3), (32, 64, 3), (64, 64, 3), (64, 128, 2)), 1):
                setattr(self, f"conv{i}", nn.Conv2d(a, b, k))
                setattr(self, f"prelu{i}", nn.PReLU(b))
            self.dense5, self.prelu5 = nn.Linear(1152, 256), nn.PReLU(256)
            self.dense6_1, self.dense6_2, self.dense6_3 = nn.Linear(256, 2), nn.Linear(256, 4), nn.Linear(256, 10)

        def forward(self, image: Any) -> dict[str, Any]:
            x = image
            for i, size in enumerate((3, 3, 2, 0), 1):
                x = getattr(self, f"prelu{i}")(getattr(self, f"conv{i}")(x))
                x = nn.functional.max_pool2d(x, size, 2, ceil_mode=True) if size else x
            x = self.prelu5(self.dense5(x.permute(0, 3, 2, 1).reshape(x.shape[0], -1)))
            face = torch.softmax(self.dense6_1(x), 1)
            return {"box": self.dense6_2(x), "points": self.dense6_3(x), "face": face}

    return ONet()
