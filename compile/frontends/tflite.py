"""TensorFlow Lite models: float, float16 weights, and full integer quantisation, which stays in the graph as QDQ.

tf2onnx surrounds every quantised operator with DequantizeLinear and QuantizeLinear, with the file's own scales, zero
points and axes; engines fuse these into integer kernels. What has no such form is refused by name: activations that the
interpreter quantises anew in every run ('dynamic range'), and 16-bit activations.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neoc.compile.contracts import Feeds, Gap, Session, Signature
from neoc.compile.errors import InvalidInput, InvalidModel
from neoc.compile.frontends import tflite_file
from neoc.compile.frontends.contract import Converted, Request
from neoc.compile.frontends.tf_lower import Frozen, convert_tflite, unsupported
from neoc.compile.frontends.tf_runtime import explained, tensorflow
from neoc.compile.frontends.tflite_file import File, Graph, Operator, is_tflite

if TYPE_CHECKING:
    from neoc.compile.program import Program

__all__ = ["convert", "is_tflite", "open_source", "samples"]

_COMPUTING = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "BATCH_MATMUL", "LSTM",
                        "UNIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_LSTM", "RNN", "SVDF",
                        "UNIDIRECTIONAL_SEQUENCE_RNN", "BIDIRECTIONAL_SEQUENCE_RNN", "CONV_3D"})  # fmt: skip
"""operators that, given float activations and integer weights, quantise the activations while they run"""

_PREFIX = "serving_default_"


def convert(request: Request, folder: Path) -> Converted:
    """The main graph as ONNX. Raises InvalidModel, InvalidInput, UnsupportedModel."""
    where = request.path.name
    file = tflite_file.read(request.path)
    inputs, outputs = _endpoints(file, request)
    _check(file.main, where)
    names = file.main.tensors
    frozen = Frozen(
        None,
        {user: names[index].name for user, index in inputs.items()},
        {user: names[index].name for user, index in outputs.items()},
    )
    convert_tflite(request.path, frozen, folder, where)
    return Converted("TensorFlow Lite", f"schema {file.version}", _notes(file))


def open_source(request: Request, signature: Signature) -> Session:
    """The file run by TensorFlow Lite's own interpreter, with its own kernels: XNNPACK and other delegates are off."""
    from neoc.compile.frontends.tf_sessions import FrameworkSession

    tf = tensorflow()
    file = tflite_file.read(request.path)
    inputs, outputs = _endpoints(file, request)
    resolver = tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    with explained(request.path.name, "the TensorFlow Lite interpreter does not take the model", "convert it again"):
        interpreter = tf.lite.Interpreter(str(request.path), experimental_op_resolver_type=resolver, num_threads=1)
        sizes = {index: tuple(detail["shape"]) for index, detail in _details(interpreter).items()}
        interpreter.allocate_tensors()

    def compute(feeds: Feeds, names: Sequence[str]) -> Mapping[str, Any]:
        grown = {inputs[name]: array.shape for name, array in feeds.items() if sizes[inputs[name]] != array.shape}
        if grown:
            for index, shape in grown.items():
                interpreter.resize_tensor_input(index, shape, strict=True)
            interpreter.allocate_tensors()
            sizes.update(grown)
        for name, array in feeds.items():
            interpreter.set_tensor(inputs[name], np.ascontiguousarray(array))
        interpreter.invoke()
        return {name: interpreter.get_tensor(outputs[name]) for name in names}

    return FrameworkSession(signature, compute)


def samples(program: Program, request: Request, seed: int) -> Iterator[Sequence[Mapping[str, np.ndarray]]]:
    """neoc's own made-up feeds; integers that stand for real numbers go over the whole range of their type."""
    from neoc.compile import inputs as made_up

    file = tflite_file.read(request.path)
    quantised = {
        name: np.dtype(file.main.tensors[index].dtype)
        for name, index in _endpoints(file, request)[0].items()
        if file.main.tensors[index].quantised and file.main.tensors[index].dtype in ("int8", "uint8", "int16")
    }
    random = np.random.default_rng(seed)
    for sizes in made_up.candidates(program, seed):
        group = [dict(sample) for sample in made_up.generate(program, seed, 2, sizes)]
        for sample in group:
            for name, dtype in quantised.items():
                limits = np.iinfo(dtype)
                sample[name] = random.integers(limits.min, limits.max, sample[name].shape, dtype, endpoint=True)
        yield group


def _details(interpreter: Any) -> dict[int, Any]:
    return {detail["index"]: detail for detail in interpreter.get_input_details()}


# ---- names ---------------------------------------------------------------------------------------------------


def _endpoints(file: File, request: Request) -> tuple[dict[str, int], dict[str, int]]:
    """Users' names -> tensors: those of a signature where the file has one. Raises InvalidInput, InvalidModel."""
    _check_names(file.main, request.path.name)
    asked = request.options.get("signature")
    known = {names.key: names for names in file.signatures}
    if asked is not None and asked not in known:
        raise InvalidInput(f"there is no signature {asked!r}", where=request.path.name,
                           fix=f"the file has {', '.join(map(repr, known)) or 'none'}")  # fmt: skip
    if asked is None and len(known) > 1 and "serving_default" not in known:
        raise InvalidInput("the model has several signatures and no default", where=request.path.name,
                           why=f"they are {', '.join(known)}", fix="choose one: --option signature=NAME")  # fmt: skip
    if known:
        chosen = known[asked or ("serving_default" if "serving_default" in known else next(iter(known)))]
        if set(chosen.inputs.values()) <= set(file.main.inputs) and chosen.outputs:
            return dict(sorted(chosen.inputs.items())), dict(sorted(chosen.outputs.items()))
    tensors = file.main.tensors
    return (
        {_plain(tensors[index].name): index for index in file.main.inputs},
        {_plain(tensors[index].name): index for index in file.main.outputs},
    )


def _plain(name: str) -> str:
    return name.removeprefix(_PREFIX).removesuffix(":0")


def _check_names(graph: Graph, where: str) -> None:
    """tf2onnx finds tensors by name, and two of one name would silently be one."""
    used = {index for operator in graph.operators for index in (*operator.inputs, *operator.outputs) if index >= 0}
    seen: set[str] = set()
    for index in sorted(used | set(graph.inputs) | set(graph.outputs)):
        name = graph.tensors[index].name
        if not name or name in seen:
            raise InvalidModel(
                "the TensorFlow Lite model cannot be converted",
                where=where,
                why=f"several of its tensors are called {name!r}" if name else "some of its tensors have no name",
                fix="convert it again with TensorFlow's converter, which gives every tensor a name of its own",
            )
        seen.add(name)


# ---- what has no ONNX form -------------------------------------------------------------------------------------


def _check(graph: Graph, where: str) -> None:
    """Raises UnsupportedModel with every operator that cannot be taken."""
    names = _operator_names()
    gaps = []
    for operator in graph.operators:
        name = operator.custom or names.get(operator.code, f"BUILTIN_{operator.code}")
        reason = _fault(operator, name, graph)
        if reason:
            produced = [graph.tensors[index].name for index in operator.outputs if index >= 0]
            gaps.append(Gap("tflite", produced[0] if produced else "", name, reason[0], suggestion=reason[1]))
    if gaps:
        raise unsupported(gaps, where)


def _operator_names() -> dict[int, str]:
    tensorflow()
    from tensorflow.lite.python.schema_py_generated import BuiltinOperator

    return {code: name for name, code in vars(BuiltinOperator).items() if not name.startswith("_")}


def _fault(operator: Operator, name: str, graph: Graph) -> tuple[str, str] | None:
    """(reason, suggestion), or None for what can be tried."""
    read = [graph.tensors[index] for index in operator.inputs if index >= 0]
    if operator.custom.startswith("Flex"):
        return None  # a TensorFlow op inside, which tf2onnx knows or names
    if operator.custom and operator.custom != "TFLite_Detection_PostProcess":
        return "it is a custom operator, known to its author's runtime alone", "leave it outside the model"
    if name in _COMPUTING and read and read[0].dtype == "float32":
        weights = [tensor for tensor in read[1:] if tensor.constant and tensor.dtype in ("int8", "uint8", "int4")]
        if weights:
            return (
                "its weights are integers and its activations are quantised anew in every run ('dynamic range')",
                "convert with a representative_dataset (full integer), with float16 weights, or without optimizations",
            )
    if any(tensor.dtype in ("int16", "int4") and tensor.quantised for tensor in read):
        return (
            "its activations are quantised to 16 bits, or its weights to 4",
            "convert with TFLITE_BUILTINS_INT8, or without optimizations",
        )
    return None


def _notes(file: File) -> tuple[str, ...]:
    quantised = sum(tensor.quantised and not tensor.constant for tensor in file.main.tensors)
    return (f"{quantised} quantised activations are kept as QuantizeLinear / DequantizeLinear",) if quantised else ()
