"""Images to model input: crop, resize, letterbox, normalise, layout, dtype, in cache-sized strips of one native run.

The resize is named after the library whose bits it gives, because they all differ and a model must be served what
it was
trained on:

    opencv-bilinear, -bicubic, -area, -nearest        cv2.resize with vendor code (IPP) off
    pillow-box, -bilinear, -hamming, -bicubic, -lanczos    Image.resize of Pillow 13 on (always antialiased)
    pillow12-...                                      the same of Pillow up to 12, which never went along y first
    torchvision-bilinear, -bicubic                    v2.Resize of uint8 tensors, antialias=True; '-noantialias': False
    torch-bilinear, -bicubic                          interpolate of float32 tensors, half-pixel centres, not rounded;
                                                      '-antialias', '-aligncorners'
    none                                              the image has the size already

All but the `torch-` modes are equal to their library to the last bit; those are within 0.005 of a level of 255.
The steps after the resize are equal to numpy's float32 (x / 255 - mean) / std to the last bit (x * (1 / 255) for
torchvision and torch, as v2.ToDtype does it).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neoc.kernels import image_finish as finish
from neoc.kernels import image_plan as planning
from neoc.kernels import image_scalar, image_twin, jit, memory
from neoc.kernels.errors import KernelInputError, KernelOptionError
from neoc.kernels.image_plan import Geometry, Target, Template
from neoc.kernels.image_tables import FILTERS

MODES = (
    *(f"opencv-{n}" for n in ("bilinear", "bicubic", "area", "nearest")),
    *(f"{library}-{n}" for library in ("pillow", "pillow12") for n in FILTERS),
    *(f"torchvision-{n}{a}" for n in ("bilinear", "bicubic") for a in ("", "-noantialias")),
    *(f"torch-{n}{a}" for n in ("bilinear", "bicubic") for a in ("", "-antialias", "-aligncorners")),
    "none",
)
SOURCES = ("rgb", "nv12", "i420")
_PLANS = 64
_MOST_PIXELS = 1 << 28


class ImagePreprocess:
    """A function of images; its options are plain values, see `to_spec`.

    size: (height, width) of the output. mean, std: 3 values in the output's channel order, after the division by
    `divisor`
    (255; 1 keeps levels). layout: NCHW or NHWC. dtype: float32, float16, bfloat16 (given as its bits, uint16), int8 or
    uint8; `quantization` = (scale, zero_point) then says how floats become integers, and without it uint8 gives the
    resized pixels. channels: 'RGB' keeps the order of the source, 'BGR' turns it round.
    shorter_side: resize so that the shorter side has this length, then take `size` from the centre. letterbox: keep the
    aspect ratio and fill the rest with this level. crop: (top, left, height, width) of the source, first of all.
    source: 'rgb' (HWC), or 'nv12' / 'i420' frames [h * 3 / 2, w]. threads: of one call.

    Calls may come from several threads at once. Raises KernelOptionError.
    """

    def __init__(
        self,
        size: tuple[int, int],
        resize: str = "opencv-bilinear",
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        layout: str = "NCHW",
        dtype: str = "float32",
        threads: int = 1,
        *,
        divisor: float = 255.0,
        channels: str = "RGB",
        quantization: tuple[float, int] | None = None,
        crop: tuple[int, int, int, int] | None = None,
        shorter_side: int | None = None,
        letterbox: int | None = None,
        source: str = "rgb",
    ) -> None:
        self._spec: dict[str, Any] = {
            "size": [int(v) for v in size],
            "resize": resize,
            "mean": None if mean is None else [float(v) for v in mean],
            "std": None if std is None else [float(v) for v in std],
            "layout": layout,
            "dtype": dtype,
            "threads": threads,
            "divisor": divisor,
            "channels": channels,
            "quantization": None if quantization is None else [float(quantization[0]), int(quantization[1])],
            "crop": None if crop is None else [int(v) for v in crop],
            "shorter_side": shorter_side,
            "letterbox": letterbox,
            "source": source,
        }
        _check(self._spec)
        self._height, self._width = self._spec["size"]
        self._mode, self._layout, self._dtype, self._threads = resize, layout, dtype, threads
        self._float = resize.startswith("torch-")
        self._multiply = resize.startswith(("torch-", "torchvision-"))
        self._raw = dtype == "uint8" and quantization is None
        self._divisor = 1.0 if self._raw else float(divisor)
        self._mean = np.asarray(mean if mean is not None else (0, 0, 0), np.float32)
        self._std = np.asarray(std if std is not None else (1, 1, 1), np.float32)
        self._swap = channels == "BGR"
        self._plans: OrderedDict[tuple[int, ...], list[Template]] = OrderedDict()
        self._locks = [threading.Lock() for _ in range(threads)]
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._exact: bool | None = None

    # --- as data ---

    def to_spec(self) -> dict[str, Any]:
        """The options as JSON values."""
        return dict(self._spec)

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> ImagePreprocess:
        """The inverse of `to_spec`. Raises KernelOptionError for an unknown option."""
        try:
            return cls(**dict(spec))
        except TypeError as error:
            raise KernelOptionError("an image step has options that do not fit", why=str(error)) from error

    @property
    def output_dtype(self) -> str:
        """numpy's name of the output's dtype; bfloat16 comes as uint16 bits."""
        return "uint16" if self._dtype == "bfloat16" else self._dtype

    def output_shape(self, count: int) -> tuple[int, int, int, int]:
        h, w = self._height, self._width
        return (count, 3, h, w) if self._layout == "NCHW" else (count, h, w, 3)

    def kernels(self) -> tuple[jit.Kernel, ...]:
        """Every kernel that a call may use, whatever the sizes of the images."""
        from neoc.kernels import quantize

        used = list(planning.kernels_of(self._mode))
        if not self._float:
            used.append(self._finish())
        if self._spec["source"] != "rgb":
            used.append(image_scalar.yuv_to_rgb)
        if self._dtype == "bfloat16":
            used.append(quantize._to_bfloat16)
        return (*used, jit.RUN_CALLS)

    # --- the call ---

    def __call__(
        self, images: NDArray[np.uint8] | Sequence[NDArray[np.uint8]], out: NDArray[Any] | None = None
    ) -> NDArray[Any]:
        """One image, a batch [n, h, w, 3] or a list of images of any sizes -> [n, 3, height, width] (or NHWC).

        `out`: C-contiguous of the output's shape and dtype. Raises KernelInputError.
        """
        sources = [self._region(image) for image in self._listed(images)]
        shape = self.output_shape(len(sources))
        if out is None:
            out = memory.empty(shape, self.output_dtype)
        elif (
            out.shape != shape
            or str(out.dtype) != self.output_dtype
            or not (out.flags.c_contiguous and out.flags.writeable)
        ):
            raise KernelInputError(
                "out does not fit",
                where="out",
                why=f"{out.dtype} {out.shape}",
                fix=f"give a writeable C-contiguous {self.output_dtype} array of shape {shape}",
            )
        if not sources:
            return out
        if not self._is_exact():
            out[...] = self._from_floats(np.stack([self._twin(s) for s in sources]))
        elif self._float and self._dtype != "float32":
            floats = memory.empty(shape, np.float32)
            self._run(sources, floats)
            out[...] = self._from_floats(floats)
        else:
            self._run(sources, out)
        return out

    def reference(self, images: NDArray[np.uint8] | Sequence[NDArray[np.uint8]]) -> NDArray[Any]:
        """What the call gives, by plain numpy."""
        return self._from_floats(np.stack([self._twin(self._region(image)) for image in self._listed(images)]))

    # --- input ---

    def _listed(self, images: Any) -> list[NDArray[np.uint8]]:
        rank = 3 if self._spec["source"] == "rgb" else 2
        if isinstance(images, np.ndarray):
            if images.ndim not in (rank, rank + 1):
                raise KernelInputError("an image array has the wrong rank", where="images", why=f"shape {images.shape}")
            images = images[None] if images.ndim == rank else images
        listed = list(images)
        for i, image in enumerate(listed):
            fits = isinstance(image, np.ndarray) and image.ndim == rank and (rank == 2 or image.shape[2] == 3)
            if not fits or image.dtype != np.uint8:
                got = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
                raise KernelInputError(
                    "an image has the wrong form",
                    where=f"image {i}",
                    why=f"it is {got}",
                    fix="give uint8 arrays [h, w, 3]" if rank == 3 else "give uint8 frames [h * 3 / 2, w]",
                )
            if image.size == 0:
                raise KernelInputError("an image is empty", where=f"image {i}", why=f"shape {image.shape}")
            if image.size > _MOST_PIXELS * 3:
                raise KernelInputError("an image is too large", where=f"image {i}", why=f"shape {image.shape}")
        return listed

    def _region(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The part of the source that is resized, as RGB with whole pixels in a row and a positive row stride."""
        if self._spec["source"] != "rgb":
            image = _from_yuv(image, self._spec["source"])
        if (crop := self._spec["crop"]) is not None:
            top, left, h, w = crop
            if top + h > image.shape[0] or left + w > image.shape[1]:
                raise KernelInputError("the crop leaves the image", where="crop", why=f"{crop} of {image.shape[:2]}")
            image = image[top : top + h, left : left + w]
        if self._mode == "none" and self._geometry(*image.shape[:2]).full != image.shape[:2]:
            raise KernelInputError(
                "an image has another size than the output",
                why=f"{image.shape[:2]}, not {(self._height, self._width)}",
                fix="name a resize instead of 'none'",
            )
        rows, pixels, channels = image.strides
        if channels != 1 or pixels != 3 or rows < 3 * image.shape[1]:
            image = np.ascontiguousarray(image)
        return image

    def _geometry(self, h: int, w: int) -> Geometry:
        height, width = self._height, self._width
        if (shorter := self._spec["shorter_side"]) is not None:
            full = (shorter, int(shorter * w / h)) if h <= w else (int(shorter * h / w), shorter)
            if full[0] < height or full[1] < width:
                raise KernelInputError(
                    "the resized image is smaller than the output", why=f"{full}, not {(height, width)}"
                )
            window = (round((full[0] - height) / 2), round((full[1] - width) / 2))
            return Geometry((h, w), full, window, height, width)
        if self._spec["letterbox"] is not None:
            ratio = min(height / h, width / w)
            inner = (max(1, min(height, round(h * ratio))), max(1, min(width, round(w * ratio))))
            place = ((height - inner[0]) // 2, (width - inner[1]) // 2)
            return Geometry((h, w), inner, (0, 0), *inner, place)
        return Geometry((h, w), (height, width), (0, 0), height, width)

    # --- running ---

    def _run(self, sources: list[NDArray[np.uint8]], out: NDArray[Any]) -> None:
        if self._spec["letterbox"] is not None:
            self._fill(out)
        workers = self._threads
        if workers == 1:
            self._work(0, sources, out, range(len(sources)), None)
            return
        if len(sources) >= workers:
            parts: list[tuple[range, int | None]] = [(range(k, len(sources), workers), None) for k in range(workers)]
        else:  # fewer images than threads: each thread takes every n-th strip of all of them
            parts = [(range(len(sources)), k) for k in range(workers)]
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(workers - 1, "neoc-image")
        pending = [self._pool.submit(self._work, k, sources, out, *parts[k]) for k in range(1, workers)]
        self._work(0, sources, out, *parts[0])
        for future in pending:
            future.result()

    def _work(
        self, worker: int, sources: list[NDArray[np.uint8]], out: NDArray[Any], mine: range, strip: int | None
    ) -> None:
        groups: dict[tuple[int, ...], list[int]] = {}
        for i in mine:
            groups.setdefault(sources[i].shape[:2], []).append(i)
        step = out.strides[0]
        base = out.__array_interface__["data"][0]
        with self._locks[worker]:  # the templates' scratch memory belongs to one run at a time
            matrices = []
            for shape, indices in groups.items():
                templates = self._templates(worker, shape, out.itemsize)
                if strip is not None:
                    templates = templates[strip :: self._threads]
                if jit.guarded():
                    for i in indices:
                        for template in templates:
                            template.run_guarded(sources[i], out[i])
                    continue
                facts = [(s.__array_interface__["data"][0], s.strides[0]) for s in (sources[i] for i in indices)]
                addresses, strides = np.array(facts, np.uint64).T
                outputs = np.array([base + step * i for i in indices], np.uint64)
                filled = [t.filled(addresses, strides, outputs) for t in templates]
                if filled:
                    matrices.append(np.concatenate(filled, axis=1).reshape(-1, Template.WIDTH))
            if matrices:
                jit.run_calls(matrices[0] if len(matrices) == 1 else np.concatenate(matrices))

    def _templates(self, worker: int, shape: tuple[int, ...], item_size: int) -> list[Template]:
        key = (worker, *shape)
        with self._lock:
            if key in self._plans:
                self._plans.move_to_end(key)
                return self._plans[key]
        geometry = self._geometry(*shape)
        calls = planning.strip_calls(self._mode, geometry, self._target(geometry))
        made = [Template(strip, item_size) for strip in calls]
        with self._lock:
            self._plans[key] = made
            while len(self._plans) > _PLANS * self._threads:
                self._plans.popitem(last=False)
        return made

    def _target(self, g: Geometry) -> Target:
        nchw = self._layout == "NCHW"
        row, plane, pixel = (self._width, self._height * self._width, 1) if nchw else (self._width * 3, 1, 3)
        offset = g.place[0] * row + g.place[1] * pixel
        if self._swap and (nchw or self._float):
            offset, plane = offset + 2 * plane, -plane
        if self._float:
            factor = np.float32(1.0 / self._divisor)
            table = np.stack([np.full(3, factor, np.float32), *self._source_order()], axis=1)
            return Target(None, np.ascontiguousarray(table, np.float32), offset, row, plane, pixel)
        return Target(self._finish(), self._constants(), offset, row, plane if nchw else 0, pixel)

    def _finish(self) -> jit.Kernel:
        layout = "nchw" if self._layout == "NCHW" else "nhwc_swapped" if self._swap else "nhwc"
        return finish.FINISH[layout, self._dtype, not self._multiply and self._divisor != 1.0]

    def _source_order(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(mean, std) in the order of the source's channels."""
        return (self._mean[::-1], self._std[::-1]) if self._swap else (self._mean, self._std)

    def _constants(self) -> NDArray[np.float32]:
        mean, std = self._source_order()
        step, zero = self._spec["quantization"] or (1.0, 0)
        layout = "nchw" if self._layout == "NCHW" else "nhwc_swapped" if self._swap else "nhwc"
        table = np.zeros((3, len(finish.FIELDS), 16), np.float32)
        one = np.float32(1)
        factor = np.float32(1.0 / self._divisor) if self._multiply else one / np.float32(self._divisor)
        for vector, lanes in enumerate(finish.lane_channels(layout)):
            for lane, (_, c) in enumerate(lanes):
                numbers = (self._divisor, mean[c], std[c], one / std[c], step, one / np.float32(step), zero)
                table[vector, :, lane] = (factor, *numbers)
        return table

    def _is_exact(self) -> bool:
        """Whether the constants give numpy's bits for every level of every channel; else numpy itself is used."""
        if self._float:
            return True
        if self._exact is None:
            levels = np.zeros((1, 256, 4), np.uint8)
            levels[0, :, :3] = np.arange(256)[:, None]
            shape = (3, 1, 256) if self._layout == "NCHW" else (1, 256, 3)
            got = np.zeros(shape, self.output_dtype)
            first = 512 if self._swap and self._layout == "NCHW" else 0
            row = planning.Call(
                self._finish(),
                (levels, 1, 256, planning.Output(first), 768, -256 if first else 256, self._constants()),
            )
            self._run_template(Template([row], got.itemsize), levels, got)
            want = self._from_floats(self._floats(levels[..., :3]))
            self._exact = got.tobytes() == want.tobytes()
        return self._exact

    @staticmethod
    def _run_template(template: Template, image: NDArray[np.uint8], out: NDArray[Any]) -> None:
        if jit.guarded():
            template.run_guarded(image, out)
            return
        one = np.zeros(1, np.uint64)
        jit.run_calls(template.filled(one, one, one + np.uint64(out.ctypes.data)).reshape(-1, Template.WIDTH))

    # --- the twin ---

    def _twin(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        g = self._geometry(*image.shape[:2])
        resized = image_twin.resize(image, *g.full, self._mode)[g.rows, g.columns]
        if self._spec["letterbox"] is not None:
            whole = np.full((self._height, self._width, 3), self._spec["letterbox"], resized.dtype)
            whole[g.place[0] : g.place[0] + g.height, g.place[1] : g.place[1] + g.width] = resized
            resized = whole
        return self._floats(resized)

    def _floats(self, pixels: NDArray[Any]) -> NDArray[np.float32]:
        """[h, w, 3] levels -> float32 in the output's channel order and layout."""
        pixels = pixels[..., ::-1] if self._swap else pixels
        values = image_twin.normalise(pixels, self._divisor, self._multiply, self._mean, self._std)
        return np.ascontiguousarray(values.transpose(2, 0, 1)) if self._layout == "NCHW" else values

    def _from_floats(self, values: NDArray[np.float32]) -> NDArray[Any]:
        from neoc.kernels import quantize

        if self._dtype == "float32":
            return values
        if self._dtype == "bfloat16":
            return quantize.to_bfloat16(np.ascontiguousarray(values))
        if self._dtype == "float16":
            return values.astype(np.float16)
        low, high = (-128, 127) if self._dtype == "int8" else (0, 255)
        step, zero = self._spec["quantization"] or (1.0, 0)
        return np.asarray(np.clip(np.rint(values / np.float32(step)) + np.float32(zero), low, high), self._dtype)

    def _fill(self, out: NDArray[Any]) -> None:
        """The letterbox level everywhere."""
        pixel = np.full((1, 1, 3), self._spec["letterbox"], np.uint8)
        value = self._floats(pixel)
        out[...] = value if self._float else self._from_floats(value)


def _from_yuv(frame: NDArray[np.uint8], layout: str) -> NDArray[np.uint8]:
    rows, w = frame.shape
    if rows % 3 or w % 2 or rows // 3 * 2 % 2:
        raise KernelInputError(
            "a frame has no 4:2:0 shape", why=f"{frame.shape}", fix="give [h * 3 / 2, w], h and w even"
        )
    frame = np.ascontiguousarray(frame)
    h = rows // 3 * 2
    flat = frame.reshape(-1)
    chroma = flat[h * w :]
    u, v = (chroma, chroma[1:]) if layout == "nv12" else (chroma, chroma[h * w // 4 :])
    strides = (w, 2) if layout == "nv12" else (w // 2, 1)
    rgb = memory.empty((h, w, 3), np.uint8)
    image_scalar.yuv_to_rgb(flat, w, u, v, *strides, rgb, w, h)
    return rgb


def _check(spec: Mapping[str, Any]) -> None:
    """Raises KernelOptionError for the first option that cannot be."""

    def refuse(where: str, why: str, fix: str = "") -> None:
        raise KernelOptionError("an image step has an option that cannot be used", where=where, why=why, fix=fix)

    size, dtype, quantization = spec["size"], spec["dtype"], spec["quantization"]
    if len(size) != 2 or min(size) < 1 or size[0] * size[1] > _MOST_PIXELS:
        refuse("size", f"{size}", "give (height, width), both at least 1")
    if spec["resize"] not in MODES:
        refuse("resize", f"{spec['resize']!r} is unknown", f"one of {', '.join(MODES)}")
    for name in ("mean", "std"):
        if spec[name] is not None and (len(spec[name]) != 3 or not np.all(np.isfinite(np.float32(spec[name])))):
            refuse(name, f"{spec[name]}", "give three finite numbers")
    if spec["std"] is not None and not np.all(np.float32(spec["std"]) > 0):
        refuse("std", f"{spec['std']}", "each must be positive")
    if not (np.isfinite(spec["divisor"]) and spec["divisor"] > 0):
        refuse("divisor", f"{spec['divisor']}")
    if spec["layout"] not in ("NCHW", "NHWC"):
        refuse("layout", f"{spec['layout']!r}", "NCHW or NHWC")
    if dtype not in finish.OUTPUTS:
        refuse("dtype", f"{dtype!r}", f"one of {', '.join(finish.OUTPUTS)}")
    if spec["channels"] not in ("RGB", "BGR"):
        refuse("channels", f"{spec['channels']!r}", "RGB keeps the source's order, BGR turns it round")
    if spec["source"] not in SOURCES:
        refuse("source", f"{spec['source']!r}", f"one of {', '.join(SOURCES)}")
    if not isinstance(spec["threads"], int) or not 1 <= spec["threads"] <= 256:
        refuse("threads", f"{spec['threads']}")
    if dtype == "int8" and quantization is None:
        refuse("quantization", "int8 needs a scale and a zero point")
    if dtype == "uint8" and quantization is None and (spec["mean"] or spec["std"]):
        refuse("quantization", "uint8 with mean or std needs a scale and a zero point")
    if quantization is not None:
        low, high = {"int8": (-128, 127), "uint8": (0, 255)}.get(dtype, (1, 0))
        if not (np.isfinite(quantization[0]) and quantization[0] > 0 and low <= quantization[1] <= high):
            refuse("quantization", f"{quantization} for {dtype}")
    if spec["letterbox"] is not None and (spec["shorter_side"] is not None or not 0 <= spec["letterbox"] <= 255):
        refuse("letterbox", "it excludes shorter_side and is a level 0..255")
    if spec["shorter_side"] is not None and not max(1, min(size)) <= spec["shorter_side"] <= 1 << 14:
        refuse("shorter_side", f"{spec['shorter_side']} for {size}")
    if spec["crop"] is not None and (len(spec["crop"]) != 4 or min(spec["crop"]) < 0 or min(spec["crop"][2:]) < 1):
        refuse("crop", f"{spec['crop']}", "give (top, left, height, width)")
