"""What is compared: each workload with our kernel and the ways in which it is done today, all of them returning
the result.

`checks` says what the results must satisfy before anything is timed: a fast wrong answer is no entrant.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

MEAN, STD = np.array((0.485, 0.456, 0.406), np.float32), np.array((0.229, 0.224, 0.225), np.float32)
Run = Callable[[], Any]


@dataclass(frozen=True)
class Workload:
    """One row of the table. target: (peer or 'best', least ratio of its median to ours)."""

    name: str
    ours: Run
    peers: dict[str, Run]
    target: tuple[tuple[str, float], ...] = ()
    same: tuple[str, ...] = ()
    """peers whose result must be equal to ours"""
    per: int = 1
    """units in one run; the table gives microseconds a unit where it is not 1"""
    limit_us: float | None = None
    """most microseconds a unit"""
    rounds: int = 15
    notes: str = field(default="")


def _photos(count: int) -> NDArray[np.uint8]:
    """Photo-like content: smooth gradients with noise, 480 x 640."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:480, 0:640]
    base = (np.sin(x / 40)[..., None] + np.cos(y / 30)[..., None] + rng.normal(size=3)) * 50 + 128
    noise = rng.normal(0, 12, (count, 480, 640, 3))
    return np.asarray(np.clip(base + noise, 0, 255), np.uint8)


def image_batch() -> list[Workload]:
    import cv2
    import torch
    from PIL import Image

    from neoc.kernels.image import ImagePreprocess

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    batch = _photos(32)
    size = (224, 224)

    def numpy_finish(resized: Callable[[NDArray[np.uint8]], NDArray[Any]]) -> Run:
        def run() -> NDArray[np.float32]:
            out = np.empty((32, 3, 224, 224), np.float32)
            for image, to in zip(batch, out, strict=True):
                x = resized(image).astype(np.float32)
                x /= np.float32(255)
                x -= MEAN
                x /= STD
                to[...] = x.transpose(2, 0, 1)
            return out

        return run

    def planes(interpolation: int) -> Run:
        """The quickest numpy that was found: one multiplication and one addition a plane."""
        scale, bias = 1 / (255 * STD), -MEAN / STD

        def run() -> NDArray[np.float32]:
            out = np.empty((32, 3, 224, 224), np.float32)
            for image, to in zip(batch, out, strict=True):
                small = cv2.resize(image, size, interpolation=interpolation)
                for c in range(3):
                    np.multiply(small[..., c], scale[c], out=to[c], dtype=np.float32)
                    to[c] += bias[c]
            return out

        return run

    def blob() -> NDArray[np.float32]:
        small = [cv2.resize(image, size) for image in batch]
        out: NDArray[Any] = cv2.dnn.blobFromImages(small, 1 / 255, size, mean=tuple((255.0 * MEAN).tolist()))
        out /= STD.reshape(1, 3, 1, 1)
        return out

    def torchvision(antialias: bool) -> Run:
        """v2.Resize, ToDtype(scale=True) and Normalize, by the functions that they call."""
        mean, std = torch.from_numpy(MEAN)[:, None, None], torch.from_numpy(STD)[:, None, None]
        planes_first = torch.from_numpy(batch).permute(0, 3, 1, 2)

        def run() -> NDArray[np.float32]:
            x = torch.nn.functional.interpolate(planes_first, size, mode="bilinear", antialias=antialias)
            return np.asarray(x.to(torch.float32).mul_(1 / 255).sub_(mean).div_(std).numpy())

        return run

    def ipp(run: Run, on: bool) -> Run:
        def switched() -> Any:
            cv2.ipp.setUseIPP(on)
            return run()

        return switched

    def step(mode: str, threads: int = 1) -> Run:
        made = ImagePreprocess(size, mode, MEAN.tolist(), STD.tolist(), threads=threads)
        return lambda: made(batch)

    def opencv(flag: int) -> Run:
        return ipp(numpy_finish(lambda image: cv2.resize(image, size, interpolation=flag)), False)

    def pillow(flag: int) -> Run:
        return numpy_finish(lambda image: np.asarray(Image.fromarray(image).resize(size, flag)))

    bilinear = {
        "OpenCV + numpy": opencv(cv2.INTER_LINEAR),
        "OpenCV + numpy planes": ipp(planes(cv2.INTER_LINEAR), False),
        "OpenCV (IPP) + numpy planes": ipp(planes(cv2.INTER_LINEAR), True),
        "OpenCV + blobFromImages": ipp(blob, False),
        "Pillow + numpy": pillow(Image.Resampling.BILINEAR),
    }
    return [
        Workload(
            "image: 32 x 480x640 -> 224x224 bilinear (OpenCV's), normalise, NCHW",
            step("opencv-bilinear"),
            bilinear,
            (("best", 1.5), ("Pillow + numpy", 5.0)),
            ("OpenCV + numpy",),
        ),
        Workload(
            "image: the same, Pillow's bilinear",
            step("pillow-bilinear"),
            {"Pillow + numpy": bilinear["Pillow + numpy"]},
            (("Pillow + numpy", 5.0),),
            ("Pillow + numpy",),
        ),
        Workload(
            "image: the same, torchvision's bilinear, antialias",
            step("torchvision-bilinear"),
            {"torchvision v2 (its torch calls)": torchvision(True)},
            same=("torchvision v2 (its torch calls)",),
        ),
        Workload(
            "image: the same, torchvision's bilinear, no antialias",
            step("torchvision-bilinear-noantialias"),
            {"torchvision v2 (its torch calls)": torchvision(False)},
            same=("torchvision v2 (its torch calls)",),
        ),
        Workload(
            "image: the same, OpenCV's bicubic",
            step("opencv-bicubic"),
            {"OpenCV + numpy": opencv(cv2.INTER_CUBIC), "OpenCV + numpy planes": ipp(planes(cv2.INTER_CUBIC), False)},
            same=("OpenCV + numpy",),
        ),
        Workload(
            "image: the same, OpenCV's area",
            step("opencv-area"),
            {"OpenCV + numpy": opencv(cv2.INTER_AREA), "OpenCV + numpy planes": ipp(planes(cv2.INTER_AREA), False)},
            same=("OpenCV + numpy",),
        ),
        Workload(
            "image: OpenCV's bilinear, 2 threads against our 1",
            step("opencv-bilinear", 2),
            {"neoc, 1 thread": step("opencv-bilinear")},
            (("neoc, 1 thread", 1.8),),
            ("neoc, 1 thread",),
        ),
    ]


def tabular() -> list[Workload]:
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    from neoc.kernels.tabular import TabularPreprocess

    rng = np.random.default_rng(0)
    x = rng.normal(size=(100_000, 30))
    x[:, 22:] = rng.integers(0, 12, (100_000, 8))
    x[rng.random(x.shape) < 0.02] = np.nan
    numeric = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    onehot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    fitted = ColumnTransformer([("n", numeric, list(range(22))), ("c", onehot, list(range(22, 30)))]).fit(x[:20_000])
    x[5, 25] = 99
    single, double = (TabularPreprocess.from_sklearn(fitted, dtype=d) for d in ("float32", "float64"))
    peer = {"sklearn ColumnTransformer": lambda: fitted.transform(x)}
    made = single(x)

    def memory() -> Any:
        """The least that any way must do: read the table once, write as large a result."""
        made.fill(0)
        return x.sum()

    floor = {"reading and writing alone": memory}
    name = "sklearn ColumnTransformer"
    return [
        Workload(
            "table: 100,000 x 30 impute, scale, one-hot -> float32",
            lambda: single(x),
            peer | floor,
            ((name, 40.0),),
            rounds=9,
        ),
        Workload("table: the same -> float64", lambda: double(x), peer, same=(name,), rounds=9),
    ]


def arrays() -> list[Workload]:
    import torch

    from neoc.kernels import quantize, sequence

    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    n = 1 << 24
    x, q = rng.normal(size=n).astype(np.float32), np.empty(n, np.int8)
    back, copy = np.empty(n, np.float32), np.empty(n, np.float32)
    quantize.quantize(x, 0.02, 3, out=q)
    tensor = torch.from_numpy(x)
    rows = [rng.integers(0, 30_000, size) for size in rng.integers(5, 256, 512)]

    def numpy_quantize() -> NDArray[np.int8]:
        return np.asarray(np.clip(np.rint(x / np.float32(0.02)) + 3, -128, 127), np.int8)

    def numpy_dequantize() -> NDArray[np.float32]:
        np.subtract(q, np.float32(3), out=back, dtype=np.float32)
        return np.multiply(back, np.float32(0.02), out=back)

    def loop() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        width = max(map(len, rows))
        ids, mask = np.zeros((512, width), np.int64), np.zeros((512, width), np.int64)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = row
            mask[i, : len(row)] = 1
        return ids, mask

    def masked() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        mask = np.arange(lengths.max()) < lengths[:, None]
        ids = np.zeros(mask.shape, np.int64)
        ids[mask] = np.concatenate(rows)
        return ids, mask.astype(np.int64)

    def torch_quantize() -> Any:
        return torch.quantize_per_tensor(tensor, 0.02, 3, torch.qint8)

    return [
        Workload(
            "collate: 512 ragged rows of tokens",
            lambda: sequence.collate(rows),
            {"numpy loop": loop, "numpy mask": masked},
            (("best", 1.5),),
            ("numpy loop", "numpy mask"),
            rounds=60,
        ),
        Workload(
            "quantise: 16 M float32 -> int8",
            lambda: quantize.quantize(x, 0.02, 3, out=q),
            {"torch": torch_quantize, "numpy": numpy_quantize, "np.copyto of the floats": lambda: np.copyto(copy, x)},
            (("torch", 1.0), ("np.copyto of the floats", 0.8)),
            ("numpy",),
        ),
        Workload(
            "dequantise: 16 M int8 -> float32, out=",
            lambda: quantize.dequantize(q, 0.02, 3, out=back),
            {
                "numpy, out=": numpy_dequantize,
                "numpy, one multiplication": lambda: np.multiply(q, np.float32(0.02), out=back, dtype=np.float32),
            },
            (("numpy, out=", 2.0),),
            rounds=15,
        ),
    ]


def queue() -> list[Workload]:
    from neoc.kernels.batching import Batcher

    def same(items: list[Any]) -> list[Any]:
        return items

    def loop() -> None:
        async def main() -> None:
            batcher = Batcher(same, max_batch=64, max_delay_ms=1)

            async def client() -> None:
                for i in range(100):
                    await batcher.asubmit(i)

            await asyncio.gather(*(client() for _ in range(64)))
            batcher.close()

        asyncio.run(main())

    def threads(clients: int) -> Run:
        def run() -> None:
            with Batcher(same, max_batch=clients, max_delay_ms=0.2) as batcher:

                def client() -> None:
                    for i in range(4000 // clients):
                        batcher.submit(i).result()

                workers = [threading.Thread(target=client) for _ in range(clients)]
                for worker in workers:
                    worker.start()
                for worker in workers:
                    worker.join()

        return run

    def bulk() -> None:
        with Batcher(same, max_batch=256, max_delay_ms=1, max_queue=20_000) as batcher:
            batcher.submit_many(range(20_000)).result()

    return [
        Workload("queue: asyncio, 64 clients, a request", loop, {}, per=6400, limit_us=10, rounds=7),
        Workload("queue: 8 threads, a request", threads(8), {}, per=4000, limit_us=40, rounds=7),
        Workload("queue: bulk submission, a request", bulk, {}, per=20_000, limit_us=2, rounds=7),
    ]


def post() -> list[Workload]:
    import torch

    from neoc.kernels import post as kernels
    from neoc.kernels import post_twin

    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(256, 1000)).astype(np.float32)
    tensor = torch.from_numpy(logits)
    corner = rng.uniform(0, 500, (1000, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(10, 100, (1000, 2))], axis=1).astype(np.float32)
    scores, classes = rng.uniform(0, 1, 1000).astype(np.float32), np.zeros(1000, np.int64)
    return [
        Workload(
            "softmax: 256 x 1000",
            lambda: kernels.softmax(logits),
            {"torch": lambda: torch.softmax(tensor, 1), "numpy (float64)": lambda: post_twin.softmax(logits)},
            rounds=40,
        ),
        Workload(
            "top-5: 256 x 1000",
            lambda: kernels.top_k(logits, 5)[1],
            {"torch": lambda: torch.topk(tensor, 5)[1].numpy(), "numpy argsort": lambda: post_twin.top_k(logits, 5)[1]},
            same=("numpy argsort",),
            rounds=20,
        ),
        Workload(
            "nms: 1000 boxes",
            lambda: kernels.nms(boxes, scores, 0.5, classes),
            {"numpy": lambda: np.array(post_twin.nms(boxes, scores, 0.5, classes))},
            same=("numpy",),
            rounds=3,
        ),
    ]


GROUPS = (image_batch, tabular, arrays, queue, post)
