"""TensorFlow SavedModel folders, of TensorFlow 1 and 2, written by Keras 2, Keras 3 or neither.

The graph is loaded by TensorFlow's graph-mode loader. `tf.saved_model.load` would also rebuild the Python objects
around it, and fails there for every model that Keras 2 saved with its optimizer ('_UserObject' object has no attribute
'add_slot'); neoc needs the graph and the variables alone, so nothing on disk is changed and no tf_keras is needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neoc.compile.contracts import Session, Signature
from neoc.compile.errors import InvalidInput, InvalidModel
from neoc.compile.frontends.contract import Converted, Request
from neoc.compile.frontends.tf_lower import Frozen, lower, refuse_unknown
from neoc.compile.frontends.tf_runtime import explained, tensorflow

_DEFAULT, _SERVE = "serving_default", "serve"
_MOST_BYTES = 2**31 - 1

_FIX = "export the model again with tf.saved_model.save or model.export"


@dataclass(frozen=True)
class Chosen:
    """One graph of a SavedModel and one signature of it."""

    tags: tuple[str, ...]
    signature: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    graph: Any
    version: str
    notes: tuple[str, ...] = ()


def convert(request: Request, folder: Path) -> Converted:
    """The signature that was asked for, as ONNX. Raises InvalidModel, InvalidInput, UnsupportedModel."""
    from neoc.compile.frontends.tf_freeze import freeze

    chosen = choose(request)
    where = request.path.name
    refuse_unknown(chosen.graph, where)
    with loaded(request.path, chosen) as session:
        graph = freeze(session, chosen.outputs.values(), where)
    lower(Frozen(graph, chosen.inputs, chosen.outputs), request.inputs, folder, where)
    return Converted("TensorFlow", chosen.version, chosen.notes)


def open_source(request: Request, signature: Signature) -> Session:
    """The signature run by TensorFlow from the untouched folder."""
    from neoc.compile.frontends.tf_sessions import GraphSession

    chosen = choose(request)
    refuse_unknown(chosen.graph, request.path.name)
    return GraphSession(signature, chosen.inputs, chosen.outputs, loaded(request.path, chosen))


# ---- choosing ------------------------------------------------------------------------------------------------


def choose(request: Request) -> Chosen:
    """The graph by its tags and the signature by its name. Raises InvalidModel, InvalidInput with what there is."""
    where = request.path.name
    graphs: dict[frozenset[str], Any] = {
        frozenset(graph.meta_info_def.tags): graph for graph in _parse(request.path).meta_graphs
    }
    graph = graphs[_tags(list(graphs), request, where)]
    signatures = {
        name: signature
        for name, signature in sorted(graph.signature_def.items())
        if not name.startswith("__saved_model") and signature.outputs
    }
    name = _signature(list(signatures), request, where)
    others = [
        other for other in signatures if other != name and _endpoints(signatures[other]) != _endpoints(signatures[name])
    ]
    notes = (f"signature {name!r} of {', '.join(signatures)}; --option signature=NAME takes another",) if others else ()
    inputs, outputs = signatures[name].inputs, signatures[name].outputs
    return Chosen(
        tuple(sorted(graph.meta_info_def.tags)),
        name,
        {key: _plain(inputs[key], f"{where}, input {key!r}") for key in sorted(inputs)},
        {key: _plain(outputs[key], f"{where}, output {key!r}") for key in sorted(outputs)},
        graph.graph_def,
        graph.meta_info_def.tensorflow_version or "unknown",
        notes,
    )


def _endpoints(signature: Any) -> tuple[tuple[tuple[str, int], ...], tuple[str, ...]]:
    """What tells signatures apart: Keras 3 writes 'serve' and 'serving_default' for the same function."""
    return tuple((key, signature.inputs[key].dtype) for key in sorted(signature.inputs)), tuple(
        sorted(signature.outputs)
    )


def _parse(path: Path) -> Any:
    tensorflow()
    from tensorflow.core.protobuf import saved_model_pb2
    from tensorflow.python.saved_model import loader_impl

    binary = path / "saved_model.pb"
    with explained(path.name, "the SavedModel cannot be read", "fetch or export it again"):
        if binary.is_file() and binary.stat().st_size <= _MOST_BYTES:
            saved = saved_model_pb2.SavedModel()
            saved.ParseFromString(binary.read_bytes())
        else:
            saved = loader_impl.parse_saved_model(str(path))
    if not saved.meta_graphs:
        raise InvalidModel("the SavedModel is empty", where=path.name, why="it holds no graph", fix=_FIX)
    return saved


def _tags(known: list[frozenset[str]], request: Request, where: str) -> frozenset[str]:
    listed = "; ".join(",".join(sorted(tags)) or "none" for tags in known)
    if "tags" in request.options:
        asked = frozenset(tag for tag in request.options["tags"].split(",") if tag)
        if asked in known:
            return asked
        raise InvalidInput("there is no graph with these tags", where=where, why=f"asked for {','.join(asked)}",
                           fix=f"--option tags=...: the SavedModel has {listed}")  # fmt: skip
    default = frozenset({_SERVE})
    if default in known or len(known) == 1:
        return default if default in known else known[0]
    raise InvalidInput("the SavedModel holds several graphs", where=where, why=f"their tags are {listed}",
                       fix="choose one with --option tags=TAG,TAG")  # fmt: skip


def _signature(known: list[str], request: Request, where: str) -> str:
    asked = request.options.get("signature")
    if not known:
        raise InvalidModel("the SavedModel has no signature", where=where,
                           why="nothing says which tensors are its inputs and outputs",
                           fix="save it with tf.saved_model.save(..., signatures=...) or model.export")  # fmt: skip
    if asked is not None and asked not in known:
        raise InvalidInput(f"there is no signature {asked!r}", where=where,
                           fix=f"--option signature=NAME: the SavedModel has {', '.join(known)}")  # fmt: skip
    if asked is not None:
        return asked
    if _DEFAULT in known or len(known) == 1:
        return _DEFAULT if _DEFAULT in known else known[0]
    raise InvalidInput("the SavedModel has several signatures and no default", where=where,
                       why=f"they are {', '.join(known)}", fix="choose one with --option signature=NAME")  # fmt: skip


def _plain(info: Any, where: str) -> str:
    """The name of a dense tensor. Raises InvalidModel for sparse, ragged and other composite ones."""
    if info.WhichOneof("encoding") == "name":
        return str(info.name)
    raise InvalidModel("the signature cannot be compiled", where=where,
                       why="it is a sparse, ragged or composite tensor, and neoc takes dense tensors only",
                       fix="export one of dense tensors, or choose another with --option signature=NAME")  # fmt: skip


# ---- loading -------------------------------------------------------------------------------------------------


@contextmanager
def loaded(path: Path, chosen: Chosen) -> Iterator[Any]:
    """A graph-mode session with the variables restored. Raises InvalidModel where they are missing or damaged."""
    tf = tensorflow()
    _check_variables(path, chosen)
    config = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
    with tf.Graph().as_default():
        session = tf.compat.v1.Session(config=config)
        try:
            with explained(path.name, "the SavedModel cannot be loaded", "fetch or export it again"):
                tf.compat.v1.saved_model.loader.load(session, list(chosen.tags), str(path))
            yield session
        finally:
            session.close()


_VARIABLES = frozenset({"VarHandleOp", "Variable", "VariableV2"})


def _check_variables(path: Path, chosen: Chosen) -> None:
    variables = sum(node.op in _VARIABLES for node in chosen.graph.node)
    files = sorted(file.name for file in path.glob("variables/variables.*"))
    if not variables or (any(".data-" in name for name in files) and "variables.index" in files):
        return
    raise InvalidModel(
        "the SavedModel's variables are missing",
        where=path.name,
        why=f"its graph has {variables} variables, and variables/ holds {', '.join(files) or 'nothing'}",
        fix="copy the whole folder: saved_model.pb, variables/ and assets/",
    )
