"""--input NAME=SHAPE: every use of a bound name follows, and what does not fit is refused with the real inputs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import model_files
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neoc.compile.contracts import Dim
from neoc.compile.errors import InvalidInput
from neoc.compile.frontends import load
from neoc.compile.options import InputBinding

TEXT = """g (float[N,3,H,W] image, int64[N,T] ids, float scale, int64[?] free) => (float[N,3,H,W] a, int64[N,T] b)
<float[N,3,H,W] inner> {
  inner = Mul (image, scale)
  a = Relu (inner)
  b = Identity (ids)
}"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return model_files.write(tmp_path / "m.onnx", TEXT.replace("[?]", "[]"), forget_rank)


def forget_rank(model: onnx.ModelProto) -> None:
    model.graph.input[3].type.tensor_type.ClearField("shape")


def bind(model: Path, **shapes: tuple[Dim, ...] | InputBinding) -> dict[str, object]:
    """Shapes of everything, after binding."""
    bindings = {n: s if isinstance(s, InputBinding) else InputBinding(s) for n, s in shapes.items()}
    program = load(model, bindings)
    assert program.source is not None
    found: dict[str, object] = {s.name: s.shape for s in (*program.signature.inputs, *program.signature.outputs)}
    inner = next(program.nodes()).outputs[0].shape
    assert inner is not None
    found["inner"] = tuple(d if isinstance(d, int) else d.value for d in inner)
    found["bound"] = program.source.bound
    return found


def test_without_bindings_names_stay(model: Path) -> None:
    found = bind(model)
    assert found["image"] == ("N", 3, "H", "W")
    assert found["ids"] == ("N", "T")
    assert found["scale"] == ()
    assert found["free"] is None
    assert found["bound"] == ()


def test_every_use_of_a_name_is_bound_alike(model: Path) -> None:
    found = bind(model, image=(2, 3, 32, None))
    assert found["image"] == found["inner"] == found["a"] == (2, 3, 32, "W")
    assert found["ids"] == found["b"] == (2, "T")
    assert found["bound"] == (("image", (2, 3, 32, None), "float32"),)


def test_two_bindings_meet(model: Path) -> None:
    found = bind(model, ids=(4, 7), image=(4, 3, 8, 8), free=(5, 6), scale=())
    assert found["a"] == (4, 3, 8, 8)
    assert found["b"] == (4, 7)
    assert found["free"] == (5, 6)  # an unknown rank takes any
    assert [name for name, _, _ in found["bound"]] == ["image", "ids", "scale", "free"]  # type: ignore[attr-defined]


def test_a_name_in_a_binding_names_a_dimension(model: Path) -> None:
    found = bind(model, image=("batch", 3, "H", 64), free=("L",))
    assert found["a"] == ("batch", 3, "H", 64)
    assert found["b"] == ("batch", "T")
    assert found["free"] == ("L",)


def test_the_dtype_may_be_said_and_must_be_right(model: Path) -> None:
    found = bind(model, ids=InputBinding((1, 2), "int64"))
    assert found["bound"] == (("ids", (1, 2), "int64"),)
    with pytest.raises(InvalidInput, match="'ids' is int64, not int32"):
        bind(model, ids=InputBinding((1, 2), "int32"))


@pytest.mark.parametrize(
    ("shapes", "reason"),
    [
        ({"imag": (1, 3, 8, 8)}, "no input named 'imag'"),
        ({"inner": (1, 3, 8, 8)}, "no input named 'inner'"),
        ({"image": (1, 3, 8)}, "has rank 4, not 3"),
        ({"scale": (1,)}, "has rank 0, not 1"),
        ({"image": (1, 4, 8, 8)}, "axis 1 of input 'image' has the fixed size 3, not 4"),
        ({"image": (1, "C", 8, 8)}, "axis 1 of input 'image' has the fixed size 3, not C"),
        ({"image": (-1, 3, 8, 8)}, "-1 is no size"),
        ({"image": (2**63, 3, 8, 8)}, "is no size"),
        ({"image": (2, 3, 8, 8), "ids": (3, 4)}, "dimension 'N' is bound to 2 and to 3"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_real_inputs(
    model: Path, shapes: dict[str, tuple[Dim, ...]], reason: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        bind(model, **shapes)
    assert reason in caught.value.why
    assert "image: float32[N,3,H,W]; ids: int64[N,T]; scale: float32[]; free: int64[?]" in caught.value.fix
    assert ("did you mean 'image'?" in caught.value.fix) == ("imag" in shapes)
    assert caught.value.exit_status == 2


def test_a_weight_is_no_input(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no input named 'w'"):
        load(model_files.affine(tmp_path / "m.onnx"), {"w": InputBinding((3, 4))})


def test_expressions_of_bound_names(tmp_path: Path) -> None:
    def dims(model: onnx.ModelProto) -> None:
        for dim, text in zip(
            model.graph.output[0].type.tensor_type.shape.dim,
            ("2*N + 1", "floor(T/2)", "N*T", "N - 9", "NN"),
            strict=True,
        ):
            dim.dim_param = text

    text = "g (float[N,T] x) => (float[a,b,c,d,e] y) { y = Frobnicate (x) }"
    path = model_files.write(tmp_path / "m.onnx", text, dims)

    def output(*shape: Dim) -> tuple[Dim, ...] | None:
        return load(path, {"x": InputBinding(shape)}).signature.outputs[0].shape

    assert output(4, 7) == (9, 3, 28, None, "NN")
    assert output(4, None) == (9, "floor(T/2)", "4*T", None, "NN")
    assert output(None, None) == ("2*N + 1", "floor(T/2)", "N*T", "N - 9", "NN")
    assert output("M", 7) == (None, 3, None, None, "NN")


def test_binding_twice_is_binding_once(model: Path) -> None:
    """`Source.bound` replays: what it says binds a fresh load to the same program."""
    first = load(model, {"image": InputBinding((2, 3, None, 5)), "free": InputBinding((None,))})
    assert first.source is not None
    again = load(model, {name: InputBinding(shape, dtype) for name, shape, dtype in first.source.bound})
    assert again.signature == first.signature
    assert again.digest == first.digest
    assert first.digest != load(model, {}).digest


def test_silero_and_ppocr(zoo: Callable[[str], Path]) -> None:
    program = load(zoo("ppocr_cls"), {"x": InputBinding((None, 3, 48, 192))})
    assert program.signature.inputs[0].shape == (None, 3, 48, 192)
    program = load(zoo("silero_vad"), {"input": InputBinding((1, 576)), "sr": InputBinding(())})
    assert [spec.shape for spec in program.signature.inputs] == [(1, 576), (2, None, 128), ()]


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=40), st.integers(1, 9))
def test_any_name_of_a_dimension(tmp_path_factory: pytest.TempPathFactory, name: str, size: int) -> None:
    """Whatever a dim is called, binding it binds both places, and nothing tries to run it."""

    def change(model: onnx.ModelProto) -> None:
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.shape.dim[0].dim_param = name

    path = model_files.affine(tmp_path_factory.getbasetemp() / "named.onnx", change)
    shape = load(path, {}).signature.inputs[0].shape
    assert shape in ((name, 3), (None, 3))
    bound = load(path, {"x": InputBinding((size, 3))}).signature
    assert bound.inputs[0].shape == (size, 3)
    assert bound.outputs[0].shape == ((size, 4) if shape == (name, 3) else (None, 4))


def test_inputs_by_their_place(model: Path) -> None:
    """'#1' is the second; a label that is a name means the input of that name, wherever it stands."""
    found = bind(model, **{"#0": (1, 3, 8, 9), "#1:no_such_input": (1, 5)})
    assert (found["image"], found["ids"]) == ((1, 3, 8, 9), (1, 5))
    assert bind(model, **{"#0:ids": (4, 5)})["ids"] == (4, 5)
    with pytest.raises(InvalidInput, match=r"no input at position 4.*the model has 4.*image, ids"):
        bind(model, **{"#4": (1,)})
