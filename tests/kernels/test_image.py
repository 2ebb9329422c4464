"""Every resize against its library, bit for bit; then layouts, dtypes, crops, letterbox, frames, threads, bad input."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neoc.kernels import image_twin
from neoc.kernels.errors import KernelInputError, KernelOptionError
from neoc.kernels.image import MODES, ImagePreprocess
from neoc.kernels.image_tables import FILTERS

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
OPENCV = {"bilinear": "INTER_LINEAR", "bicubic": "INTER_CUBIC", "area": "INTER_AREA", "nearest": "INTER_NEAREST"}
TORCH_BOUND = 0.005  # levels of 255, as documented in image.py


def photos() -> list[np.ndarray]:
    datasets = pytest.importorskip("sklearn.datasets")
    return [np.ascontiguousarray(datasets.load_sample_image(n)) for n in ("china.jpg", "flower.jpg")]


def cases(count: int, seed: int) -> list[tuple[np.ndarray, int, int]]:
    """Random images and sizes; among them exact halves, whole ratios, one axis unchanged, one pixel, smooth content."""
    rng = np.random.default_rng(seed)
    made = []
    for k in range(count):
        h, w, oh, ow = (int(v) for v in np.exp(rng.uniform(0, np.log(200), 4)))
        if k % 8 == 0:
            h, w = 2 * oh, 2 * ow
        elif k % 8 == 1:
            h, w = oh * int(rng.integers(1, 5)), ow * int(rng.integers(1, 5))
        elif k % 8 == 2:
            w = ow
        elif k % 8 == 3:
            h = oh
        image = rng.integers(0, 256, (h, w, 3), dtype=np.uint8)
        if k % 3 == 0:
            image = np.where(image > 127, 255, 0).astype(np.uint8)
        made.append((image, oh, ow))
    return made


def pixels(mode: str, image: np.ndarray, oh: int, ow: int) -> np.ndarray:
    return ImagePreprocess((oh, ow), mode, layout="NHWC", dtype="uint8")(image)[0]


def opencv(image: np.ndarray, oh: int, ow: int, name: str) -> np.ndarray:
    cv2 = pytest.importorskip("cv2")
    if hasattr(cv2, "ipp"):
        cv2.ipp.setUseIPP(False)  # vendor code of the x86 wheels rounds otherwise
    return np.asarray(cv2.resize(image, (ow, oh), interpolation=getattr(cv2, OPENCV[name])))


def pillow(image: np.ndarray, oh: int, ow: int, name: str) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.fromarray(image).resize((ow, oh), getattr(Image.Resampling, name.upper())))


@pytest.mark.needs("cv2")
@pytest.mark.parametrize("name", OPENCV)
def test_opencv_bit_for_bit_on_500_images(name: str) -> None:
    for image, oh, ow in cases(500, 1):
        got, want = pixels(f"opencv-{name}", image, oh, ow), opencv(image, oh, ow, name)
        assert np.array_equal(got, want), (image.shape, oh, ow)


@pytest.mark.needs("PIL")
@pytest.mark.parametrize("name", FILTERS)
def test_pillow_bit_for_bit_on_500_images(name: str) -> None:
    """Pillow 13's order of passes where it is installed; Pillow 12's is two calls of one pass each, on any version."""
    import PIL

    new = int(PIL.__version__.split(".")[0]) >= 13
    for k, (image, oh, ow) in enumerate(cases(500, 2)):
        want = pillow(image, oh, ow, name)
        assert np.array_equal(pixels(f"{'pillow' if new else 'pillow12'}-{name}", image, oh, ow), want), (
            image.shape,
            oh,
            ow,
        )
        if k % 5 == 0:
            along_x_first = pillow(pillow(image, image.shape[0], ow, name), oh, ow, name)
            assert np.array_equal(pixels(f"pillow12-{name}", image, oh, ow), along_x_first)


@pytest.mark.needs("torch")
@pytest.mark.parametrize("mode", [m for m in MODES if m.startswith("torch")])
def test_torch_and_torchvision(mode: str) -> None:
    """torchvision's v2.Resize calls interpolate on the uint8 tensor; the float modes are interpolate on float32.

    Channels last, as images lie: torch 2.13 repeats the first row where a plane-by-plane float tensor is made one
    pixel wide.
    """
    import torch

    library, name, *words = mode.split("-")
    uint8 = library == "torchvision"
    antialias = "noantialias" not in words if uint8 else "antialias" in words
    for image, oh, ow in cases(150, 3):
        tensor = torch.from_numpy(image).permute(2, 0, 1)[None]
        options = {"mode": name, "antialias": antialias, "align_corners": "aligncorners" in words}
        if not uint8:
            tensor = tensor.contiguous().float().contiguous(memory_format=torch.channels_last)
        want = torch.nn.functional.interpolate(tensor, (oh, ow), **options)
        want = want[0].permute(1, 2, 0).numpy()
        if uint8:
            assert np.array_equal(pixels(mode, image, oh, ow), want), (image.shape, oh, ow)
        else:
            got = ImagePreprocess((oh, ow), mode, layout="NHWC", divisor=1)(image)[0]
            assert np.abs(got - want).max() <= TORCH_BOUND


@pytest.mark.needs("cv2", "PIL", "sklearn")
def test_photos() -> None:
    for photo in photos():
        for size in ((224, 224), (300, 500), (854, 1280), (97, 31)):
            for name in OPENCV:
                assert np.array_equal(pixels(f"opencv-{name}", photo, *size), opencv(photo, *size, name))
            for name in FILTERS:
                assert np.array_equal(pixels(f"pillow-{name}", photo, *size), pillow(photo, *size, name))


@pytest.mark.parametrize("mode", MODES)
def test_kernels_equal_their_numpy_twins(mode: str) -> None:
    for image, oh, ow in cases(40, 4):
        step = ImagePreprocess(image.shape[:2] if mode == "none" else (oh, ow), mode, mean=MEAN, std=STD)
        got, want = step(image), step.reference(image)
        if mode.startswith("torch-"):
            np.testing.assert_allclose(got, want, rtol=0, atol=2e-5)
        else:
            np.testing.assert_array_equal(got, want)


def test_normalisation_is_numpys_to_the_bit() -> None:
    rng = np.random.default_rng(5)
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[:, None, None], 3, axis=2)
    for _ in range(30):
        mean, std = rng.uniform(-1, 1, 3).astype(np.float32), rng.uniform(0.01, 3, 3).astype(np.float32)
        want = (ramp.astype(np.float32) / np.float32(255) - mean) / std
        got = ImagePreprocess((256, 1), "none", mean, std, "NHWC")(ramp)[0]
        assert np.array_equal(got, want)
        got = ImagePreprocess((256, 1), "torchvision-bilinear", mean, std, "NHWC")(ramp)[0]
        assert np.array_equal(got, (ramp.astype(np.float32) * np.float32(1 / 255) - mean) / std)


def test_extreme_constants_fall_back_to_numpy_and_stay_exact() -> None:
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[:, None, None], 3, axis=2)
    step = ImagePreprocess((256, 1), "none", (0, 0, 0), (1e-38, 1.0, 3e38))
    np.testing.assert_array_equal(step(ramp), step.reference(ramp))


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("channels", ["RGB", "BGR"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int8", "uint8"])
@pytest.mark.parametrize("mode", ["opencv-bilinear", "torchvision-bilinear", "torch-bilinear"])
def test_layouts_and_dtypes(layout: str, channels: str, dtype: str, mode: str) -> None:
    rng = np.random.default_rng(6)
    quantization = {"int8": (0.02, -3), "uint8": (0.019, 120)}.get(dtype)
    for width in (1, 5, 16, 17, 64, 100):
        image = rng.integers(0, 256, (40, 2 * width + 1, 3), dtype=np.uint8)
        step = ImagePreprocess(
            (33, width), mode, MEAN, STD, layout, dtype, channels=channels, quantization=quantization
        )
        got = step(image)
        levels = image_twin.resize(image, 33, width, mode)[..., :: -1 if channels == "BGR" else 1].astype(np.float32)
        levels = levels / np.float32(255) if mode == "opencv-bilinear" else levels * np.float32(1 / 255)
        want = (levels - np.float32(MEAN)) / np.float32(STD)
        want = want.transpose(2, 0, 1) if layout == "NCHW" else want
        if dtype == "bfloat16":
            got, want = (
                got.view(ml_dtypes.bfloat16).astype(np.float32),
                want.astype(ml_dtypes.bfloat16).astype(np.float32),
            )
        elif quantization:
            low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
            want = np.clip(np.rint(want / np.float32(quantization[0])) + quantization[1], low, high)
        elif dtype == "float16":
            want = want.astype(np.float16)
        if mode == "torch-bilinear":
            np.testing.assert_allclose(got[0].astype(np.float32), want, rtol=1e-2, atol=1 if quantization else 1e-3)
        else:
            np.testing.assert_array_equal(got[0].astype(np.float32), want.astype(np.float32))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_views_of_any_stride_give_what_their_copies_give(data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    whole = rng.integers(0, 256, (60, 70, 4), dtype=np.uint8)
    top, left = data.draw(st.integers(0, 50)), data.draw(st.integers(0, 60))
    view = (
        whole[top:, left:, 1:] if data.draw(st.booleans()) else whole[top:, left:, :3][:: -data.draw(st.integers(1, 3))]
    )
    mode = data.draw(st.sampled_from(MODES[:-1]))
    step = ImagePreprocess((data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))), mode)
    np.testing.assert_array_equal(step(view), step(view.copy()))


def test_crop_is_the_crop_of_the_source() -> None:
    image = np.random.default_rng(7).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    for mode in MODES[:-1]:
        got = ImagePreprocess((32, 48), mode, crop=(11, 7, 50, 77))(image)
        np.testing.assert_array_equal(got, ImagePreprocess((32, 48), mode)(image[11:61, 7:84].copy()))


@pytest.mark.parametrize("mode", MODES[:-1])
def test_shorter_side_and_centre_crop_is_resize_then_crop(mode: str) -> None:
    rng = np.random.default_rng(8)
    for h, w in ((100, 170), (171, 90), (64, 64), (30, 45)):
        image = rng.integers(0, 256, (h, w, 3), dtype=np.uint8)
        full = (72, int(72 * w / h)) if h <= w else (int(72 * h / w), 72)
        whole = ImagePreprocess(full, mode, layout="NHWC")(image)[0]
        top, left = round((full[0] - 64) / 2), round((full[1] - 56) / 2)
        got = ImagePreprocess((64, 56), mode, layout="NHWC", shorter_side=72)(image)[0]
        np.testing.assert_array_equal(got, whole[top : top + 64, left : left + 56])


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("mode", ["opencv-bilinear", "pillow-bicubic", "opencv-area", "torch-bilinear"])
def test_letterbox(mode: str, layout: str) -> None:
    rng = np.random.default_rng(9)
    step = ImagePreprocess((64, 96), mode, MEAN, STD, layout, letterbox=114, channels="BGR")
    images = [rng.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in ((100, 50), (50, 100), (64, 96), (300, 9))]
    got = step(images, out=np.full(step.output_shape(4), 7, np.float32))
    np.testing.assert_allclose(got, step.reference(images), rtol=0, atol=2e-5 if mode == "torch-bilinear" else 0)
    pad = (np.float32(114) / np.float32(255) - np.float32(MEAN)) / np.float32(STD)
    corner = got[0, :, 0, 0] if layout == "NCHW" else got[0, 0, 0]
    np.testing.assert_allclose(corner, pad, rtol=1e-5)


@pytest.mark.needs("cv2")
@pytest.mark.parametrize("source", ["nv12", "i420"])
def test_camera_frames(source: str) -> None:
    cv2 = pytest.importorskip("cv2")
    code = cv2.COLOR_YUV2RGB_NV12 if source == "nv12" else cv2.COLOR_YUV2RGB_I420
    rng = np.random.default_rng(10)
    for h, w in ((2, 2), (48, 64), (36, 98), (480, 640)):
        frame = rng.integers(0, 256, (h * 3 // 2, w), dtype=np.uint8)
        rgb = cv2.cvtColor(frame, code)
        got = ImagePreprocess((31, 40), "opencv-bilinear", MEAN, STD, source=source)(frame)
        np.testing.assert_array_equal(got, ImagePreprocess((31, 40), "opencv-bilinear", MEAN, STD)(rgb))
        np.testing.assert_array_equal(image_twin.yuv_to_rgb(frame, source), rgb)


def test_ragged_lists_threads_and_concurrent_callers_agree() -> None:
    rng = np.random.default_rng(11)
    images = [rng.integers(0, 256, (*rng.integers(1, 300, 2), 3), dtype=np.uint8) for _ in range(40)]
    for mode in ("opencv-bilinear", "pillow-bilinear", "opencv-bicubic", "torch-bicubic"):
        one = ImagePreprocess((90, 110), mode, MEAN, STD)
        want = one(images)
        for i in (0, 17, 39):
            np.testing.assert_array_equal(want[i], one(images[i])[0])
        three = ImagePreprocess((90, 110), mode, MEAN, STD, threads=3)
        np.testing.assert_array_equal(three(images), want)
        np.testing.assert_array_equal(three(images[:1]), want[:1])
        with ThreadPoolExecutor(4) as pool:
            for result in pool.map(three, [images] * 8):
                np.testing.assert_array_equal(result, want)


def test_one_large_image_is_shared_among_threads() -> None:
    image = np.random.default_rng(12).integers(0, 256, (700, 900, 3), dtype=np.uint8)
    for mode in MODES[:-1]:
        one, two = (ImagePreprocess((640, 800), mode, threads=n) for n in (1, 2))
        np.testing.assert_array_equal(one(image), two(image))


def test_out_is_written_and_returned() -> None:
    image = np.zeros((2, 9, 9, 3), np.uint8)
    step = ImagePreprocess((4, 4))
    out = np.full((2, 3, 4, 4), 5, np.float32)
    assert step(image, out=out) is out
    assert not out.any()
    for bad in (
        np.empty((2, 3, 4, 5), np.float32),
        np.empty((2, 3, 4, 4)),
        np.empty((2, 4, 4, 3), np.float32).transpose(0, 3, 1, 2),
    ):
        with pytest.raises(KernelInputError, match="out"):
            step(image, out=bad)
    assert step([]).shape == (0, 3, 4, 4)


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((0, 5, 3), np.uint8),
        np.zeros((5, 5), np.uint8),
        np.zeros((5, 5, 4), np.uint8),
        np.zeros((5, 5, 3), np.float32),
        np.zeros((1, 1, 5, 5, 3), np.uint8),
        [np.zeros((5, 5, 3), np.uint8), None],
        [[[1, 2, 3]]],
        np.broadcast_to(np.zeros((1, 1, 3), np.uint8), (1 << 15, 1 << 15, 3)),
    ],
)
def test_bad_images_are_typed_errors(images: object) -> None:
    with pytest.raises(KernelInputError):
        ImagePreprocess((4, 4))(images)  # type: ignore[arg-type]


def test_images_that_do_not_fit_the_options() -> None:
    image = np.zeros((20, 30, 3), np.uint8)
    for step in (
        ImagePreprocess((4, 4), crop=(0, 0, 21, 4)),
        ImagePreprocess((4, 4), "none"),
        ImagePreprocess((30, 60), shorter_side=30),
    ):
        with pytest.raises(KernelInputError):
            step(image)
    with pytest.raises(KernelInputError):
        ImagePreprocess((4, 4), source="nv12")(np.zeros((7, 4), np.uint8))


def test_huge_strides_are_followed() -> None:
    base = np.zeros(40 << 20, np.uint8)
    view = np.lib.stride_tricks.as_strided(base, (10, 50, 3), (4 << 20, 3, 1))
    view[...] = np.random.default_rng(13).integers(0, 256, view.shape, dtype=np.uint8)
    for mode in MODES[:-1]:
        np.testing.assert_array_equal(ImagePreprocess((9, 31), mode)(view), ImagePreprocess((9, 31), mode)(view.copy()))


@pytest.mark.parametrize(
    "options",
    [
        {"size": (0, 4)},
        {"resize": "bilinear"},
        {"mean": (1, 2)},
        {"std": (1, 0, 1)},
        {"mean": (float("nan"), 0, 0)},
        {"layout": "CHW"},
        {"dtype": "float64"},
        {"dtype": "int8"},
        {"dtype": "uint8", "mean": MEAN},
        {"dtype": "int8", "quantization": (0.1, 200)},
        {"threads": 0},
        {"channels": "GRB"},
        {"source": "yuv444"},
        {"letterbox": 300},
        {"letterbox": 0, "shorter_side": 10},
        {"shorter_side": 2},
        {"crop": (0, 0, 0, 5)},
        {"divisor": 0},
    ],
)
def test_bad_options_are_typed_errors(options: dict[str, object]) -> None:
    with pytest.raises(KernelOptionError):
        ImagePreprocess(**({"size": (4, 4)} | options))  # type: ignore[arg-type]


def test_a_step_is_its_spec() -> None:
    step = ImagePreprocess(
        (8, 9), "pillow-lanczos", MEAN, STD, "NHWC", "int8", quantization=(0.1, 3), crop=(1, 2, 30, 30)
    )
    again = ImagePreprocess.from_spec(json.loads(json.dumps(step.to_spec())))
    image = np.random.default_rng(14).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    np.testing.assert_array_equal(step(image), again(image))
    with pytest.raises(KernelOptionError):
        ImagePreprocess.from_spec({"size": [4, 4], "colour": 1})
