"""Keras models in files: `.keras` archives and HDF5, written by Keras 3 or by Keras 2.

Both formats describe layers by class name and configuration, so the model is rebuilt by the Keras of the generation
that wrote it: Keras 3, or tf_keras, which is Keras 2 kept alive. neoc reads the configuration first (keras_file.py) and
refuses code and unknown classes with the names of all such layers; code runs only with --trust-pickle.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neoc.compile.contracts import Feeds, Gap, Session, Signature
from neoc.compile.errors import InvalidModel, MissingTool, UnsupportedModel, UsageError
from neoc.compile.frontends.contract import Converted, Request
from neoc.compile.frontends.keras_file import FIX, Described, custom, describe, is_keras, unsafe
from neoc.compile.frontends.tf_lower import Frozen, lower, refuse_unknown
from neoc.compile.frontends.tf_names import Layers
from neoc.compile.frontends.tf_runtime import explained, tensorflow
from neoc.compile.options import InputBinding

__all__ = ["convert", "is_keras", "open_source", "save"]

# ---- the front end -----------------------------------------------------------------------------------------


def convert(request: Request, folder: Path) -> Converted:
    """The model as ONNX. Raises InvalidModel, MissingTool, UnsupportedModel with all layers that cannot be taken."""
    from neoc.compile.frontends.tf_freeze import freeze_function

    described = describe(request.path)
    traced = trace(build(request, described), request.inputs, request.path.name)
    where = request.path.name
    refuse_unknown(traced.function.graph.as_graph_def(), where)
    graph, inputs, outputs = freeze_function(traced.function, where)
    frozen = Frozen(
        graph,
        dict(zip(traced.inputs, inputs, strict=True)),
        dict(zip(traced.outputs, outputs, strict=True)),
        traced.layers,
    )
    lower(frozen, request.inputs, folder, where)
    return Converted("Keras", described.version)


def open_source(request: Request, signature: Signature) -> Session:
    """The model rebuilt and run by Keras, in inference mode."""
    from neoc.compile.frontends.tf_sessions import FrameworkSession

    tf = tensorflow()
    traced = trace(build(request, describe(request.path)), {}, request.path.name)
    refuse_unknown(traced.function.graph.as_graph_def(), request.path.name)

    def compute(feeds: Feeds, names: Sequence[str]) -> Mapping[str, Any]:
        results = traced.call(*(tf.constant(feeds[name]) for name in traced.inputs))
        return {name: np.asarray(result) for name, result in zip(traced.outputs, results, strict=True)}

    return FrameworkSession(signature, compute)


def save(model: Any, folder: Path, example_inputs: object, inputs: Mapping[str, InputBinding]) -> Path:
    """A live model as a `.keras` file, or as a SavedModel where its layers' code is only in the user's own program."""
    if _is_legacy(model):
        path = folder / "saved_model"
        model.export(str(path))
        return path
    if not getattr(model, "built", False) or not _has_inputs(model):
        raise UsageError(
            "the Keras model has no inputs yet",
            where=str(getattr(model, "name", "")),
            why="it was never built or called, so nothing says what it takes",
            fix="call model.build(input_shape), or the model once",
        )
    described = Described(json.loads(model.to_json()), "3", True)
    if not unsafe(described) and not custom(described):
        model.save(folder / "model.keras")
        return folder / "model.keras"
    path = folder / "saved_model"
    model.export(str(path), verbose=False)
    return path


def _is_legacy(model: Any) -> bool:
    return any(base.__module__.startswith("tf_keras.") for base in type(model).__mro__)


# ---- what cannot be built ------------------------------------------------------------------------------------


def _check(described: Described, library: Any, request: Request) -> None:
    """Raises UnsupportedModel with every layer that carries code or that this Keras has no class for."""
    homes = [library.layers, library.models, library.initializers, library.regularizers, library.constraints]
    homes += [getattr(library, name) for name in ("activations", "metrics", "losses", "optimizers", "mixed_precision")]

    def known(name: str) -> bool:
        internal = (
            "Functional",
            "Sequential",
            "Model",
            "TFOpLambda",
            "SlicingOpLambda",
            "ClassMethod",
            "InstanceMethod",
        )
        return name.rpartition(">")[2] in internal or any(hasattr(home, name) for home in homes)

    carried = [] if request.trust_pickle else unsafe(described)
    gaps = [
        _gap(layer, name, "it carries pickled Python code, which could do anything on this machine",
             "if you trust the file give --trust-pickle; or export the graph with model.export(FOLDER)")
        for layer, name in carried if name != "__lambda__"
    ]  # fmt: skip
    gaps += [
        _gap(layer, name, "its class is not part of Keras, and the file does not hold the code",
             "export the graph with model.export(FOLDER) and give neoc that folder, or pass the model object in Python")
        for layer, name in custom(described, known if described.legacy or not described.archive else None)
    ]  # fmt: skip
    if gaps:
        raise UnsupportedModel(
            f"{len(gaps)} layer{'s' * (len(gaps) > 1)} of the model cannot be loaded",
            gaps=gaps,
            where=request.path.name,
            why="; ".join(f"layer {gap.node!r} ({gap.operator}): {gap.reason}" for gap in gaps[:5]),
            fix=gaps[0].suggestion,
        )


def _gap(layer: str, operator: str, reason: str, suggestion: str) -> Gap:
    return Gap("keras", layer, operator, reason, where=f"layer {layer}", suggestion=suggestion)


# ---- building and tracing ------------------------------------------------------------------------------------


def build(request: Request, described: Described) -> Any:
    """The model, rebuilt by the Keras generation that wrote it. Raises InvalidModel, MissingTool, UnsupportedModel."""
    library = _library(described, request.path.name)
    _check(described, library, request)
    with explained(request.path.name, "Keras cannot rebuild the model", FIX):
        return library.models.load_model(
            str(_named(request.path, described)), compile=False, safe_mode=not request.trust_pickle
        )


def _named(path: Path, described: Described) -> Path:
    """Keras looks at the suffix alone: a file under another name gets a link with the right one."""
    suffix = ".keras" if described.archive else ".h5"
    if path.suffix.lower() in ((".keras",) if described.archive else (".h5", ".hdf5")):
        return path
    import tempfile

    link = Path(tempfile.mkdtemp(prefix="neoc-keras-")) / f"model{suffix}"
    link.symlink_to(path)
    return link


def _library(described: Described, where: str) -> Any:
    tensorflow()
    if not described.legacy:
        import keras

        return keras
    try:
        import tf_keras
    except ImportError as error:
        raise MissingTool(
            "this model was written by Keras 2, which lives on as the package tf_keras",
            where=where,
            why="tf_keras is not installed here",
            fix="pip install 'neoc[tensorflow]'",
        ) from error
    return tf_keras


@dataclass(frozen=True)
class Traced:
    function: Any
    """the concrete function: flat inputs, flat outputs"""
    call: Callable[..., Any]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    layers: Layers


def trace(model: Any, bindings: Mapping[str, InputBinding], where: str) -> Traced:
    """The model in inference mode as one TensorFlow function of flat inputs. Raises InvalidModel."""
    tf = tensorflow()
    if not _has_inputs(model):
        raise InvalidModel(
            "the model has no inputs",
            where=where,
            why="it was saved before it was built or called, so the file does not say what it takes",
            fix="call model.build(input_shape) and save it again",
        )
    names = _distinct([_input_name(tensor) for tensor in model.inputs])
    structure = _structure(model)
    results: list[str] = []

    def call(*tensors: Any) -> list[Any]:
        answer = model(tf.nest.pack_sequence_as(structure, list(tensors)), training=False)
        flat = tf.nest.flatten(answer)
        results[:] = _output_names(model, answer, len(flat))
        return list(flat)

    specs = [tf.TensorSpec(tuple(tensor.shape), tensor.dtype, name=f"x{i}") for i, tensor in enumerate(model.inputs)]
    compiled = tf.function(call, input_signature=specs, autograph=False)
    with explained(where, "Keras cannot run the model", FIX):
        function = compiled.get_concrete_function()
    return Traced(function, compiled, names, tuple(results), _layers(model))


def _has_inputs(model: Any) -> bool:
    try:
        return bool(model.inputs)
    except (AttributeError, ValueError):
        return False


def _structure(model: Any) -> Any:
    """What the model takes, each tensor replaced by None: one tensor, a list or a dictionary of them."""
    try:
        return _outline(model.input)
    except AttributeError:  # a Sequential that was read from a file
        return None if len(model.inputs) == 1 else [None] * len(model.inputs)


def _outline(structure: Any) -> Any:
    if isinstance(structure, Mapping):
        return {key: _outline(value) for key, value in structure.items()}
    return [_outline(value) for value in structure] if isinstance(structure, list | tuple) else None


def _input_name(tensor: Any) -> str:
    return str(tensor.name).partition(":")[0]


def _output_names(model: Any, answer: Any, count: int) -> tuple[str, ...]:
    """A dictionary's keys; else the names of the layers that make the outputs, as Keras itself gives them."""
    if isinstance(answer, Mapping) and len(answer) == count:
        return tuple(str(key) for key in sorted(answer))
    names = getattr(model, "output_names", None)
    if not names:
        names = getattr(getattr(model, "_functional", None), "output_names", None)
    if not names or len(names) != count:
        names = [f"output_{i}" for i in range(count)]
    return _distinct([str(name) for name in names])


def _distinct(names: Sequence[str]) -> tuple[str, ...]:
    seen: dict[str, int] = {}
    result = []
    for name in names:
        seen[name] = seen.get(name, -1) + 1
        result.append(f"{name}_{seen[name]}" if seen[name] else name)
    return tuple(result)


def _layers(model: Any) -> Layers:
    names = frozenset(str(layer.name) for layer in model._flatten_layers(include_self=False))
    return Layers(names, suffixed=not _is_legacy(model))
