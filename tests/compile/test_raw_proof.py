"""Models with steps, end to end: compiled from raw items, proven on them, opened and run on them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from neoc.compile import Artifact, compile_model, raw_proof
from neoc.compile.errors import FeedError, InvalidInput, NeocError, ParityFailure, UsageError
from neoc.compile.options import CompileOptions, InputBinding
from neoc.kernels import image_twin, jit
from neoc.kernels.image import ImagePreprocess
from neoc.kernels.tabular import TabularPreprocess
from neoc.targets import open_artifact

RNG = np.random.default_rng(17)
QUICK: dict[str, Any] = {"race_seconds": 0.3, "engines": ("onnxruntime",)}
LINE = {"size": [48, 192], "resize": "opencv-bilinear", "mean": [0.5] * 3, "std": [0.5] * 3, "channels": "BGR"}
UP = [{"softmax": {"output": "p"}}, {"labels": {"threshold": 0.5, "names": ["0", "180"]}}]


def lines(count: int) -> list[np.ndarray]:
    """Dark strokes on light paper, of any size."""
    made = []
    for i in range(count):
        image = np.full((30 + 7 * i, 120 + 31 * i, 3), 230, np.uint8)
        for x in range(5, image.shape[1] - 8, 9 + i):
            top = int(RNG.integers(3, image.shape[0] // 2))
            image[top : image.shape[0] - 6, x : x + 3] = RNG.integers(0, 80, 3)
        made.append(image)
    return made


@pytest.fixture(scope="module")
def classifier(zoo, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[np.ndarray], Path]:  # type: ignore[no-untyped-def]
    """(model, images, artifact) of PP-OCR's text direction classifier with its own pre-processing."""
    folder = tmp_path_factory.mktemp("cls")
    images = lines(5)
    (folder / "images").mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / "images" / f"{i}.png")
    options = CompileOptions(preprocess=[{"image": LINE}], postprocess=UP, raw_data=folder / "images", **QUICK)
    model = zoo("ppocr_cls")
    compile_model(model, "host", options, output=folder / "cls.neoc")
    return model, images, folder / "cls.neoc"


def test_a_real_model_serves_raw_images(classifier: tuple[Path, list[np.ndarray], Path]) -> None:
    import onnxruntime

    model, images, path = classifier
    tensor = np.stack([_as_its_library_does(image) for image in images])
    plain = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    (want,) = plain.run(None, {plain.get_inputs()[0].name: tensor})
    with open_artifact(path) as session:
        name = session.outputs[0].name
        np.testing.assert_allclose(session.run({"x": tensor})[name], want, rtol=1e-4, atol=1e-6)
        answers = session.run_raw([*images, images[0][:, :, :2]])
    exact = np.exp(want.astype(np.float64))
    chances = exact / exact.sum(axis=1, keepdims=True)
    for answer, row in zip(answers, chances, strict=False):
        assert answer["labels"] == [("0", "180")[row.argmax()]]  # type: ignore[index]
    assert isinstance(answers[5], FeedError)


def _as_its_library_does(image: np.ndarray) -> np.ndarray:
    resized = image_twin.resize(image[..., ::-1].copy(), 48, 192, "opencv-bilinear").astype(np.float32)
    return ((resized.transpose(2, 0, 1) / 255 - 0.5) / 0.5).astype(np.float32)


def test_the_manifest_has_both_signatures_the_steps_and_their_proof(
    classifier: tuple[Path, list[np.ndarray], Path],
) -> None:
    facts = Artifact.open(classifier[2]).manifest
    assert [t["name"] for t in facts["signature"]["inputs"]] == ["x"]
    assert facts["raw"]["items"] == [{"name": "x", "kind": "image", "takes": "uint8 [h, w, 3]"}]
    assert [a["name"] for a in facts["raw"]["answers"]] == ["labels"]
    assert facts["pre"][0]["options"] == ImagePreprocess(**{**LINE}).to_spec() | {"input": ["x"]}  # type: ignore[arg-type]
    proof = facts["verification"]["raw"]
    assert proof["given_items"] == 5
    assert proof["items"] > 5
    assert {s["step"]: s["max_abs_error"] <= s["bound"] for s in proof["steps"]} == {
        "x (image)": True,
        "p (softmax)": True,
        "labels (labels)": True,
    }
    assert proof["steps"][0]["bound"] == 0.0
    assert Artifact.open(classifier[2]).program().pre[0].name == "image"


def test_object_code_travels_and_serves_a_machine_without_numba(
    classifier: tuple[Path, list[np.ndarray], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import subprocess
    import sys

    _, images, path = classifier
    files = Artifact.open(path).manifest["kernels"][jit.cpu_key()]
    assert {name.rpartition("-")[0] for name in files} >= {"opencv_linear", "finish_nchw_float32", "softmax"}
    np.save(tmp_path / "a.npy", images[1])
    script = (
        "import sys; sys.modules['numba'] = None\n"
        "import numpy as np\nfrom neoc.targets import open_artifact\n"
        "with open_artifact(sys.argv[1]) as s: print(s.run_raw([np.load(sys.argv[2])]))\n"
    )
    words = [sys.executable, "-c", script, str(path), str(tmp_path / "a.npy")]
    env = {"NEOC_CACHE_DIR": str(tmp_path / "cache"), "PATH": "/usr/bin:/bin", "NEOC_KERNELS_GUARD": ""}
    done = subprocess.run(words, capture_output=True, text=True, env=env, check=False)
    assert "labels" in done.stdout, done.stderr
    assert "compiling kernel" not in done.stderr
    # Of another kind of CPU, nothing is installed, and what is missing is compiled once, with a line that says so.
    monkeypatch.setattr(jit, "cpu_key", lambda: "another-cpu")
    monkeypatch.setenv("NEOC_CACHE_DIR", str(tmp_path / "other"))
    with open_artifact(path):
        assert not list((tmp_path / "other").rglob("*.o"))


def test_object_code_of_an_artifact_replaces_nothing(
    classifier: tuple[Path, list[np.ndarray], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEOC_CACHE_DIR", str(tmp_path))
    name = next(iter(Artifact.open(classifier[2]).manifest["kernels"][jit.cpu_key()]))
    mine = tmp_path / "kernels" / jit.cpu_key() / name
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"my own")
    open_artifact(classifier[2]).close()
    assert mine.read_bytes() == b"my own"
    assert len(list(mine.parent.glob("*.o"))) > 1


@pytest.mark.parametrize("fold", ["exact", "near"])
def test_folding_keeps_the_answers(fold: str, zoo, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    options = CompileOptions(
        preprocess=[{"image": LINE}],
        postprocess=[{"top_k": {"k": 2}}],
        fold=fold,
        inputs={"x": InputBinding((2, 3, 48, 192))},
        **QUICK,
    )
    artifact = compile_model(zoo("ppocr_cls"), "host", options, output=tmp_path / "m.neoc")
    assert artifact.signature.inputs[0].dtype == ("uint8" if fold == "near" else "float32")
    assert artifact.manifest["verification"]["outputs"][0]["relative"] < 1e-5
    with open_artifact(tmp_path / "m.neoc") as session:
        answers = session.run_raw(lines(3))
    values = np.stack([a["top_k"]["values"] for a in answers])  # type: ignore[index]
    assert values.shape == (3, 2)
    assert np.allclose(values.sum(axis=1), 1, atol=1e-5)


def test_a_kernel_that_departs_from_its_twin_fails_the_compilation(
    zoo,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,  # type: ignore[no-untyped-def]
) -> None:
    right = ImagePreprocess.__call__
    monkeypatch.setattr(ImagePreprocess, "__call__", lambda self, images, out=None: right(self, images, out) + 0.01)
    options = CompileOptions(preprocess=[{"image": LINE}], **QUICK)
    with pytest.raises(ParityFailure, match=r"departs from its plain twin.*image"):
        compile_model(zoo("ppocr_cls"), "host", options, output=tmp_path / "m.neoc")
    assert list(tmp_path.iterdir()) == []


def test_an_answer_that_departs_from_its_twin_fails_the_compilation(
    zoo,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,  # type: ignore[no-untyped-def]
) -> None:
    from neoc.kernels import post

    right = post.top_k
    monkeypatch.setattr(post, "top_k", lambda x, k: (right(x, k)[0], 1 - right(x, k)[1]))
    options = CompileOptions(preprocess=[{"image": LINE}], postprocess=[{"top_k": {"k": 1}}], **QUICK)
    with pytest.raises(ParityFailure, match="top_k"):
        compile_model(zoo("ppocr_cls"), "host", options, output=tmp_path / "m.neoc")


def test_steps_and_items_that_do_not_fit_are_told_before_anything_is_built(
    zoo,
    tmp_path: Path,  # type: ignore[no-untyped-def]
) -> None:
    model = zoo("ppocr_cls")
    np.savez(tmp_path / "grey.npz", np.zeros((5, 5), np.uint8))
    faults: list[tuple[type[NeocError], str, dict[str, Any]]] = [
        (UsageError, "does not give what the model takes", {"preprocess": [{"image": LINE | {"layout": "NHWC"}}]}),
        (UsageError, "unknown fold", {"fold": "all"}),
        (InvalidInput, "raw items do not fit preprocess", {"raw_data": tmp_path / "grey.npz"}),
        (InvalidInput, "do not fit postprocess", {"postprocess": [{"top_k": {"k": 7}}]}),
    ]
    for kind, words, said in faults:
        options = CompileOptions(**{"preprocess": [{"image": LINE}], **said, **QUICK})
        with pytest.raises(kind, match=words):
            compile_model(model, "host", options, output=tmp_path / "m.neoc")
    assert [path.name for path in tmp_path.iterdir()] == ["grey.npz"]


# ---- a table ---------------------------------------------------------------------------------


def passengers(count: int) -> pd.DataFrame:
    frame = pd.DataFrame(
        {
            "age": RNG.uniform(1, 80, count),
            "fare": RNG.lognormal(3, 1, count),
            "port": RNG.choice(["Cherbourg", "Queenstown", "Southampton"], count),
            "deck": RNG.choice(["A", "B", "C", "D"], count),
        }
    )
    frame.loc[::7, "age"] = np.nan
    return frame


def perceptron(path: Path, fitted: Any, width: int) -> Path:
    """A fitted MLPClassifier as ONNX: relu(x W0 + b0) W1 + b1, logistic."""
    tensors = {f"w{i}": w.astype(np.float32) for i, w in enumerate(fitted.coefs_)}
    tensors |= {f"b{i}": b.astype(np.float32) for i, b in enumerate(fitted.intercepts_)}
    nodes = [
        helper.make_node("Gemm", ["x", "w0", "b0"], ["h0"]),
        helper.make_node("Relu", ["h0"], ["h1"]),
        helper.make_node("Gemm", ["h1", "w1", "b1"], ["z"]),
        helper.make_node("Sigmoid", ["z"], ["survived"]),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "mlp",
        [value("x", TensorProto.FLOAT, ["n", width])],
        [value("survived", TensorProto.FLOAT, ["n", 1])],
        [numpy_helper.from_array(v, k) for k, v in tensors.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_a_scikit_learn_pipeline_serves_raw_rows(tmp_path: Path) -> None:
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    train = passengers(400)
    encode = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), ["age", "fare"]),
            ("words", OneHotEncoder(handle_unknown="ignore"), ["port", "deck"]),
        ]
    ).fit(train)
    labels = (train["age"].fillna(0) < 30) ^ (train["port"] == "Cherbourg")
    fitted = MLPClassifier((16,), solver="lbfgs", max_iter=2000, random_state=0).fit(encode.transform(train), labels)
    model = perceptron(tmp_path / "mlp.onnx", fitted, 9)
    step = TabularPreprocess.from_sklearn(encode)
    compile_model(model, "host", CompileOptions(preprocess=[step], **QUICK), output=tmp_path / "m.neoc")
    fresh = passengers(50)
    fresh.loc[3, "port"] = "Belfast"
    want = fitted.predict_proba(encode.transform(fresh))[:, 1]
    with open_artifact(tmp_path / "m.neoc") as session:
        whole = np.concatenate([a["survived"] for a in session.run_raw(fresh)])  # type: ignore[index, arg-type]
        rows = session.run_raw([*fresh.to_dict("records"), {"age": 3}])
    np.testing.assert_allclose(whole, want, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(np.concatenate([a["survived"] for a in rows[:50]]), whole)  # type: ignore[index]
    assert isinstance(rows[50], FeedError)
    assert want.std() > 0.1
    facts = Artifact.open(tmp_path / "m.neoc").manifest
    assert facts["raw"]["items"][0]["takes"] == "values of age, fare, port, deck"
    assert json.dumps(facts["pre"])


# ---- the distance ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("got", "want", "far"),
    [
        (np.array([1.0, np.nan]), np.array([1.5, np.nan]), 0.5),
        (np.array([1.0, 2.0]), np.array([1.0, np.nan]), np.inf),
        (np.array([np.inf]), np.array([np.inf]), 0.0),
        (np.array([np.inf]), np.array([1.0]), np.inf),
        (np.array([1, 2]), np.array([1, 4]), 2.0),
        (np.array([1.0]), np.array([1]), np.inf),
        (np.array([1.0]), np.array([1.0, 2.0]), np.inf),
        ({"a": ["x"]}, {"a": ["x"]}, 0.0),
        ({"a": ["x"]}, {"a": ["y"]}, np.inf),
        ({"a": 1}, {"b": 1}, np.inf),
        (["x"], ["x", "y"], np.inf),
    ],
)
def test_the_distance_of_answers(got: Any, want: Any, far: float) -> None:
    assert raw_proof.distance(got, want) == far
