"""The ten models that exact speed and cold starts are measured on, each one ONNX file with realistic inputs.

Six are ONNX files of the zoo. MiniLM and MTCNN's three networks are PyTorch weights: exported by torch.export, brought
into neoc's normal form and written as one file, which is then the source for every subject alike. One sample of each
data file fixes the sizes: silero frame 1x576 and sequence 80x576, PP-OCR det 320x640 and cls 48x192, magika 2048 bytes,
basic-pitch 43,844 samples, MiniLM 128 tokens, P-Net 240x320, R-Net 24x24, O-Net 48x48.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from neoc.bench import torch_models, zoo
from neoc.compile import onnx_io
from neoc.compile.options import CompileOptions
from neoc.compile.pipeline import lower

Exported = Callable[[Path], tuple[Path, Path]]

ZOO = {
    "silero_frame": "silero_vad_openvino_16k",
    "silero_sequence": "silero_vad_16k_sequence",
    "ppocr_det": "ppocrv4_det",
    "ppocr_cls": "ppocr_cls",
    "magika": "magika",
    "basic_pitch": "basic_pitch",
}
TORCH: dict[str, Exported] = {
    "minilm": partial(torch_models.minilm, steps=128),
    "mtcnn_pnet": partial(torch_models.pnet, height=240, width=320),
    "mtcnn_rnet": torch_models.rnet,
    "mtcnn_onet": torch_models.onet,
}
NAMES = (*ZOO, *TORCH)


@dataclass(frozen=True)
class TenModel:
    name: str
    path: Path
    """one .onnx file, weights inside"""
    data: Path
    """an .npz: input -> samples"""

    def sample(self, index: int = 0) -> dict[str, np.ndarray]:
        """The feeds of one sample."""
        with np.load(self.data) as arrays:
            return {name: arrays[name][index] for name in arrays.files}


def fetch(folder: Path, names: Sequence[str] = NAMES) -> list[TenModel]:
    """The named models, in `folder`. Raises what zoo.fetch raises, UsageError for an unknown name."""
    return [_fetch(folder, name) for name in names]


def _fetch(folder: Path, name: str) -> TenModel:
    if name not in TORCH:
        (entry,) = zoo.fetch([ZOO.get(name, name)], folder)
        assert entry.data is not None, name
        return TenModel(name, entry.path, entry.data)
    exported, data = TORCH[name](folder)
    path = folder / f"{name}.onnx"
    onnx_io.write(lower(exported, CompileOptions()).model, path)
    return TenModel(name, path, data)
