"""Made-up raw items: images, rows and token sequences like those that a program's steps are for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from neoc.compile import inputs
from neoc.compile.program import Program
from neoc.compile.raw import RawPipeline
from neoc.kernels.steps import CollateStep, ImageStep, TableStep


def made_up(pipeline: RawPipeline, program: Program, seed: int, count: int) -> list[Any]:
    """`count` items that differ from each other; the same for the same seed. Raises InvalidInput for tensors of which
    nothing can be made up.
    """
    rng = np.random.default_rng([seed, 0x7261])
    whole = inputs.generate(program, seed, count) if _needs_tensors(pipeline) else []
    parts: dict[str, list[Any]] = {}
    for step, names in pipeline.pre:
        if isinstance(step, ImageStep):
            parts[names[0]] = [image(step.to_spec(), rng) for _ in range(count)]
        elif isinstance(step, TableStep):
            parts[names[0]] = rows(step.kernel, rng, count)
        elif isinstance(step, CollateStep):
            parts[names[0]] = [tokens(feeds[names[0]], step.to_spec(), rng) for feeds in whole]
    for slot in pipeline.slots:
        if slot.kind == "tensor":
            batched = pipeline.is_batched(slot.name)
            parts[slot.name] = [feeds[slot.name][0] if batched else feeds[slot.name] for feeds in whole]
    if len(pipeline.slots) == 1:
        return parts[pipeline.slots[0].name]
    return [{name: values[i] for name, values in parts.items()} for i in range(count)]


def _needs_tensors(pipeline: RawPipeline) -> bool:
    return any(slot.kind in ("tensor", "tokens") for slot in pipeline.slots)


def image(spec: Mapping[str, Any], rng: np.random.Generator) -> np.ndarray:
    """A smooth picture with some noise, between 0.7 and 2.5 times as large as the model's, within what the step takes.

    For nv12 and i420 a frame.
    """
    height, width = spec["size"]
    zoom, stretch = rng.uniform(0.7, 2.5), rng.uniform(1.02, 1.3)
    h, w = max(2, round(height * zoom)), max(2, round(width * zoom))
    h, w = (h, int(w * stretch) + 1) if width >= height else (int(h * stretch) + 1, w)
    if spec["resize"] == "none":
        h, w = (height, width) if spec["shorter_side"] is None else (h, w)
    if spec["crop"] is not None:
        top, left, tall, wide = spec["crop"]
        h, w = top + tall + int(rng.integers(0, 9)), left + wide + int(rng.integers(0, 9))
    if spec["source"] != "rgb":
        h, w = h + h % 2, w + w % 2
        return _picture(h * 3 // 2, w, 1, rng)[..., 0]
    return _picture(h, w, 3, rng)


def _picture(h: int, w: int, channels: int, rng: np.random.Generator) -> np.ndarray:
    coarse = rng.uniform(0, 255, (h // 16 + 2, w // 16 + 2, channels))
    smooth = np.repeat(np.repeat(coarse, 16, axis=0), 16, axis=1)[:h, :w]
    return np.clip(smooth + rng.normal(0, 12, smooth.shape), 0, 255).astype(np.uint8)


def rows(step: Any, rng: np.random.Generator, count: int) -> list[dict[str, Any]]:
    """Rows with values as the fitted numbers suggest, known categories, missing and unseen values where they may be."""
    from neoc.kernels.tabular import Category, Numeric

    names = step.names if step.names is not None else [str(j) for j in range(step.columns)]
    table: dict[int, list[Any]] = {}
    for block in step.blocks:
        if block.column in table and not isinstance(block, Category):
            continue
        if isinstance(block, Category):
            table[block.column] = [_category(block, rng) for _ in range(count)]
        elif isinstance(block, Numeric):
            table[block.column] = [_number(dict(block.steps), rng) for _ in range(count)]
        else:
            table[block.column] = [f"value {rng.integers(1000)}" for _ in range(count)]
    blank: list[Any] = [0.0] * count
    return [{name: table.get(j, blank)[i] for j, name in enumerate(names)} for i in range(count)]


def _number(steps: Mapping[str, Any], rng: np.random.Generator) -> float:
    if {"impute", "missing"} & set(steps) and rng.random() < 0.1:
        return float("nan")
    edges = steps.get("bucketise")
    if edges:
        return float(rng.uniform(edges[0] - 1, edges[-1] + 1))
    centre, spread = float(steps.get("subtract", 0.0)), float(steps.get("divide", 1.0)) or 1.0
    return centre + spread * float(rng.normal())


def _category(block: Any, rng: np.random.Generator) -> Any:
    known = [c for c in block.categories if c is not None and c == c]
    if rng.random() < 0.1 and (block.impute is not None or len(known) < len(block.categories)):
        return None
    if not known:
        return None
    if block.unknown != "error" and rng.random() < 0.1:
        return "never seen" if isinstance(known[0], str) else max(map(float, known)) + 1
    return known[int(rng.integers(len(known)))]


def tokens(ids: np.ndarray, spec: Mapping[str, Any], rng: np.random.Generator) -> np.ndarray:
    """The beginning of a made-up row of ids, of a length between 1 and the row's own."""
    row = ids.reshape(-1) if ids.ndim < 2 else ids[0].reshape(-1)
    return np.asarray(row[: int(rng.integers(1, len(row) + 1))] if len(row) else row, spec["dtype"])
