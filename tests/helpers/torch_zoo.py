"""Networks in PyTorch as users have them: a file of code with factories, weights beside it where there are any."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

RESNET = '''
import torch
from torch import nn


class Block(nn.Module):
    """Two convolutions and a shortcut, as in ResNet-18."""

    def __init__(self, inside, outside, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outside)
        self.short = nn.Identity()
        if stride != 1 or inside != outside:
            self.short = nn.Sequential(nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside))

    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + self.short(x))


class ResNet(nn.Module):
    def __init__(self, widths=(16, 32, 64), classes=10):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, widths[0], 7, 2, 3, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU())
        self.pool = nn.MaxPool2d(3, 2, 1)
        pairs = zip((widths[0], *widths), widths)
        self.blocks = nn.Sequential(*(Block(a, b, 1 if i == 0 else 2) for i, (a, b) in enumerate(pairs)))
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, image):
        return self.head(self.blocks(self.pool(self.stem(image))).mean((2, 3)))


def make():
    """Weights at random; the statistics of batch normalisation are those of data, so that the output moves."""
    model = ResNet().train()
    with torch.no_grad():
        for _ in range(4):
            model(torch.randn(8, 3, 64, 64))
    return model.eval()
'''

VIT = '''
import torch
from torch import nn


class ViT(nn.Module):
    """Patches of 8 x 8, a class token, learned positions resized to the image, encoder layers as PyTorch has them."""

    def __init__(self, width=64, depth=3, heads=4, patch=8, grid=8, classes=10):
        super().__init__()
        self.patch = nn.Conv2d(3, width, patch, patch)
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.position = nn.Parameter(torch.randn(1, width, grid, grid))
        layer = nn.TransformerEncoderLayer(width, heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        self.layers = nn.ModuleList(type(layer)(width, heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
                                    for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, image):
        x = self.patch(image)
        position = nn.functional.interpolate(self.position, size=x.shape[2:], mode="bilinear", align_corners=False)
        x = (x + position).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1)
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x)[:, 0])


def make():
    return ViT(), (torch.randn(2, 3, 64, 64),)
'''

BERT = '''
import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

HERE = Path(__file__).parent


class Layer(nn.Module):
    def __init__(self, config):
        super().__init__()
        width, inner = config["hidden_size"], config["intermediate_size"]
        self.heads = config["num_attention_heads"]
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.attended, self.norm1 = nn.Linear(width, width), nn.LayerNorm(width, config["layer_norm_eps"])
        self.wide, self.narrow = nn.Linear(width, inner), nn.Linear(inner, width)
        self.norm2 = nn.LayerNorm(width, config["layer_norm_eps"])

    def forward(self, x, mask):
        batch, length, width = x.shape
        split = lambda t: t.view(batch, length, self.heads, width // self.heads).transpose(1, 2)
        mixed = nn.functional.scaled_dot_product_attention(
            split(self.query(x)), split(self.key(x)), split(self.value(x)), attn_mask=mask
        )
        x = self.norm1(x + self.attended(mixed.transpose(1, 2).reshape(batch, length, width)))
        return self.norm2(x + self.narrow(nn.functional.gelu(self.wide(x))))


class MiniLM(nn.Module):
    """Mean over the tokens that the mask keeps, of length 1."""

    def __init__(self, config):
        super().__init__()
        width = config["hidden_size"]
        self.words = nn.Embedding(config["vocab_size"], width)
        self.positions = nn.Embedding(config["max_position_embeddings"], width)
        self.kinds = nn.Embedding(config["type_vocab_size"], width)
        self.norm = nn.LayerNorm(width, config["layer_norm_eps"])
        self.layers = nn.ModuleList(Layer(config) for _ in range(config["num_hidden_layers"]))

    def forward(self, ids, mask):
        at = torch.arange(ids.shape[1], device=ids.device)
        x = self.norm(self.words(ids) + self.positions(at) + self.kinds.weight[0])
        keep = mask[:, None, None, :].bool()
        for layer in self.layers:
            x = layer(x, keep)
        kept = mask[:, :, None].to(x.dtype)
        return nn.functional.normalize((x * kept).sum(1) / kept.sum(1).clamp(min=1e-9), dim=1)


NAMES = {
    "attention.self.query": "query", "attention.self.key": "key", "attention.self.value": "value",
    "attention.output.dense": "attended", "attention.output.LayerNorm": "norm1", "intermediate.dense": "wide",
    "output.dense": "narrow", "output.LayerNorm": "norm2",
}


def make():
    model = MiniLM(json.loads((HERE / "config.json").read_text()))
    found = {}
    for name, tensor in load_file(HERE / "model.safetensors").items():
        name = name.removeprefix("bert.")
        for old, new in (("embeddings.word_embeddings", "words"), ("embeddings.position_embeddings", "positions"),
                         ("embeddings.token_type_embeddings", "kinds"), ("embeddings.LayerNorm", "norm")):
            name = name.replace(old, new)
        if name.startswith("encoder.layer."):
            _, _, index, rest = name.split(".", 3)
            part, _, leaf = rest.rpartition(".")
            name = f"layers.{index}.{NAMES[part]}.{leaf}"
        if name in model.state_dict():
            found[name] = tensor
    model.load_state_dict(found)
    ids = torch.randint(1000, 2000, (2, 12))
    return model, (ids, torch.ones_like(ids))
'''

_FACTORY = """

def {lower}():
    model = {name}(pretrained=False)
    weights = os.path.join(os.path.dirname(__file__), "{lower}.pt")
    model.load_state_dict(torch.load(weights, weights_only=True))
    return model
"""


def write(folder: Path, name: str, code: str) -> Path:
    path = folder / name
    path.write_text(code)
    return path


def mtcnn(zoo_folder: Path, folder: Path) -> Path:
    """The three networks' classes as the package has them, without its own imports, and a factory for each."""
    shutil.copytree(zoo_folder, folder, dirs_exist_ok=True)
    source = (folder / "mtcnn.py").read_text()
    classes = re.sub(r"from \.utils[^\n]*\n", "", source[: source.index("class MTCNN")])
    return write(
        folder, "nets.py", classes + "".join(_FACTORY.format(name=n, lower=n.lower()) for n in ("PNet", "RNet", "ONet"))
    )


def minilm(zoo_folder: Path, folder: Path) -> Path:
    for name in ("config.json", "model.safetensors"):
        (folder / name).symlink_to(zoo_folder / name)
    return write(folder, "bert.py", BERT)
