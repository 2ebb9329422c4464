"""Keras models in files: `.keras` archives and HDF5, written by Keras 3 or by Keras 2.

Both formats describe layers by class name and configuration, so the model is rebuilt by the Keras of the generation that
wrote it: Keras 3, or tf_keras, which is Keras 2 kept alive. A file can also carry Python code (a Lambda layer is
pickled byte code) or name classes that only its author has. neoc reads the configuration first and refuses both with
the names of all such layers; code runs only with --trust-pickle.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neoc.compile.contracts import Feeds, Gap, Session, Signature
from neoc.compile.errors import InvalidModel, MissingTool, UnsupportedModel, UsageError
from neoc.compile.frontends.contract import Converted, Request
from neoc.compile.frontends.tf_lower import Frozen, lower, refuse_unknown
from neoc.compile.frontends.tf_names import Layers
from neoc.compile.frontends.tf_runtime import explained, tensorflow
from neoc.compile.options import InputBinding

_HDF5 = b"\x89HDF\r\n\x1a\n"
_CONFIG, _METADATA, _WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
_MOST_CONFIG_BYTES = 64 << 20
_MOST_BYTES = 32 << 30

_FIX = "save the model again with model.save('model.keras'), or export its graph with model.export(FOLDER)"


@dataclass(frozen=True)
class Described:
    """What a file says of itself before any of it is built."""

    config: Mapping[str, Any]
    version: str
    """of the Keras that wrote it"""
    archive: bool

    @property
    def legacy(self) -> bool:
        return not self.version.startswith("3")


# ---- recognition -------------------------------------------------------------------------------------------


def is_keras_archive(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return path.suffix.lower() == ".keras" and path.is_file() and not is_hdf5(path)
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return path.suffix.lower() == ".keras"
    return {_CONFIG, _WEIGHTS} <= names or ({_CONFIG, _METADATA} <= names and path.suffix.lower() == ".keras")


def is_hdf5(path: Path) -> bool:
    """HDF5's signature is at 0, or after a user block of 512, 1024, 2048 ... bytes (HDF5 format, section II.A)."""
    with path.open("rb") as file:
        return any(file.seek(at) == at and file.read(8) == _HDF5 for at in (0, 512, 1024, 2048, 4096))


def is_keras(path: Path) -> bool:
    return path.is_file() and (is_keras_archive(path) or is_hdf5(path))


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
    if not _unsafe(described) and not _custom(described):
        model.save(folder / "model.keras")
        return folder / "model.keras"
    path = folder / "saved_model"
    model.export(str(path), verbose=False)
    return path


def _is_legacy(model: Any) -> bool:
    return any(base.__module__.startswith("tf_keras.") for base in type(model).__mro__)


# ---- reading the description -------------------------------------------------------------------------------


def describe(path: Path) -> Described:
    """The configuration in the file. Nothing of it is built. Raises InvalidModel."""
    return _describe_hdf5(path) if is_hdf5(path) else _describe_archive(path)


def _describe_archive(path: Path) -> Described:
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {info.filename: info.file_size for info in archive.infolist()}
            if _CONFIG not in sizes or _WEIGHTS not in sizes:
                raise _invalid(path, f"the archive lacks {_CONFIG if _CONFIG not in sizes else _WEIGHTS}")
            if sizes[_CONFIG] > _MOST_CONFIG_BYTES or sum(sizes.values()) > _MOST_BYTES:
                raise _invalid(path, "the archive says that it unpacks to an absurd size")
            damaged = archive.testzip()
            if damaged is not None:
                raise _invalid(path, f"{damaged} is damaged: its checksum does not hold")
            config = _json(archive.read(_CONFIG), path, _CONFIG)
            metadata = _json(archive.read(_METADATA), path, _METADATA) if _METADATA in sizes else {}
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        raise _invalid(path, f"it is no whole zip archive ({error})") from error
    return Described(config, str(metadata.get("keras_version", "3")), archive=True)


def _describe_hdf5(path: Path) -> Described:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            attributes = {name: file.attrs[name] for name in ("model_config", "keras_version") if name in file.attrs}
            holds_weights = bool(set(file) & {"layers", "_layer_checkpoint_dependencies", "vars", "model_weights"}) or (
                "layer_names" in file.attrs
            )
    except (OSError, KeyError, RuntimeError, ValueError, TypeError) as error:
        raise _invalid(path, f"it is no whole HDF5 file ({error})") from error
    if "model_config" not in attributes:
        kind = "Keras weights without the model's layers" if holds_weights else "HDF5 data that Keras did not write"
        raise InvalidModel(
            "the file holds no model",
            where=path.name,
            why=f"it is {kind}",
            fix="rebuild the model in Python, load the weights into it, and save it with model.save('model.keras')",
        )
    text = attributes["model_config"]
    config = _json(text if isinstance(text, bytes) else str(text).encode(), path, "model_config")
    version = attributes.get("keras_version", b"2")
    return Described(config, version.decode() if isinstance(version, bytes) else str(version), archive=False)


def _json(data: bytes, path: Path, what: str) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _invalid(path, f"{what} is no JSON ({error})") from error
    if not isinstance(found, dict):
        raise _invalid(path, f"{what} is no JSON object")
    return found


def _invalid(path: Path, why: str) -> InvalidModel:
    return InvalidModel("the Keras model cannot be read", where=path.name, why=why, fix=_FIX)


# ---- what must not or cannot be built ------------------------------------------------------------------------


def _objects(config: Any, layer: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(name of the layer around it, object) for everything in a configuration that names a class. No recursion."""
    waiting: list[tuple[str, Any]] = [(layer, config)]
    while waiting:
        around, item = waiting.pop()
        if isinstance(item, Mapping):
            if "class_name" in item and not str(item["class_name"]).startswith("__keras_tensor"):
                inner = item.get("config")
                named = inner.get("name") if isinstance(inner, Mapping) else None
                around = named if isinstance(named, str) else around
                yield around, item
            waiting += [(around, value) for value in reversed(list(item.values()))]
        elif isinstance(item, list):
            waiting += [(around, value) for value in reversed(item)]


def _unsafe(described: Described) -> list[tuple[str, str]]:
    """(layer, class) of everything that carries Python byte code."""
    found = [(layer, str(item["class_name"])) for layer, item in _objects(described.config)]
    return list(dict.fromkeys((layer, name) for layer, name in found if name in ("Lambda", "__lambda__")))


def _custom(described: Described, known: Callable[[str], bool] | None = None) -> list[tuple[str, str]]:
    """(layer, class) of everything whose class Keras does not have. `known`: for Keras 2, which names no modules."""
    found = []
    for layer, item in _objects(described.config):
        name = str(item["class_name"])
        if name.startswith("__") and name.endswith("__"):
            continue  # '__tensor__', '__tuple__', '__lambda__' are syntax of the configuration, not classes
        if "module" in item:
            module = item["module"] or ""
            package = str(item.get("registered_name") or "").partition(">")
            foreign = str(module).split(".")[0] not in ("keras", "tf_keras", "builtins")
            if foreign or (package[1] and package[0] != "keras"):
                found.append((layer, name))
        elif known is not None and "registered_name" not in item and isinstance(item.get("config"), Mapping):
            if not known(name):
                found.append((layer, name))
    return list(dict.fromkeys(found))


def _check(described: Described, library: Any, request: Request) -> None:
    """Raises UnsupportedModel with every layer that carries code or that this Keras has no class for."""
    homes = [library.layers, library.models, library.initializers, library.regularizers, library.constraints]
    homes += [getattr(library, name) for name in ("activations", "metrics", "losses", "optimizers", "mixed_precision")]

    def known(name: str) -> bool:
        internal = ("Functional", "Sequential", "Model", "TFOpLambda", "SlicingOpLambda", "ClassMethod", "InstanceMethod")
        return name.rpartition(">")[2] in internal or any(hasattr(home, name) for home in homes)

    unsafe = [] if request.trust_pickle else _unsafe(described)
    gaps = [
        _gap(layer, name, "it carries pickled Python code, which could do anything on this machine",
             "if you trust the file give --trust-pickle; or export the graph with model.export(FOLDER)")
        for layer, name in unsafe if name != "__lambda__"
    ]  # fmt: skip
    gaps += [
        _gap(layer, name, "its class is not part of Keras, and the file does not hold the code",
             "export the graph with model.export(FOLDER) and give neoc that folder, or pass the model object in Python")
        for layer, name in _custom(described, known if described.legacy or not described.archive else None)
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
    with explained(request.path.name, "Keras cannot rebuild the model", _FIX):
        return library.models.load_model(str(_named(request.path, described)), compile=False, safe_mode=not request.trust_pickle)


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
    with explained(where, "Keras cannot run the model", _FIX):
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
