"""Frozen TensorFlow graphs: a GraphDef in a `.pb` file whose variables are constants.

Such a file says neither what its inputs nor what its outputs are. Inputs are the placeholders that have no default;
outputs are what nothing in the graph reads. `--option inputs=a,b` and `--option outputs=c,d` say otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from neoc.compile.contracts import Session, Signature
from neoc.compile.errors import InvalidInput, InvalidModel
from neoc.compile.frontends.contract import Converted, Request
from neoc.compile.frontends.tf_lower import Frozen, lower, refuse_unknown
from neoc.compile.frontends.tf_runtime import explained, tensorflow

_VARIABLES = frozenset({"Variable", "VariableV2", "VarHandleOp", "AutoReloadVariable"})
_NO_RESULT = frozenset(
    {"Const", "NoOp", "Placeholder", "PlaceholderWithDefault", "Assert", "Print", "PrintV2", "SaveV2"}
)


def convert(request: Request, folder: Path) -> Converted:
    """The graph as ONNX. Raises InvalidModel, InvalidInput, UnsupportedModel."""
    frozen = read(request)
    lower(frozen, request.inputs, folder, request.path.name)
    version = frozen.graph.versions.producer
    return Converted("TensorFlow", f"graph version {version}" if version else "unknown", _notes(frozen, request))


def open_source(request: Request, signature: Signature) -> Session:
    """The untouched graph, run by TensorFlow."""
    from neoc.compile.frontends.tf_sessions import GraphSession

    frozen = read(request)
    refuse_unknown(frozen.graph, request.path.name)
    return GraphSession(signature, frozen.inputs, frozen.outputs, _session(frozen, request.path.name))


@contextmanager
def _session(frozen: Frozen, where: str) -> Iterator[Any]:
    tf = tensorflow()
    config = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
    with tf.Graph().as_default() as graph:
        with explained(where, "TensorFlow cannot read the graph", "export it again"):
            tf.import_graph_def(frozen.graph, name="")
        session = tf.compat.v1.Session(graph=graph, config=config)
        try:
            yield session
        finally:
            session.close()


def read(request: Request) -> Frozen:
    """The GraphDef and its endpoints. Raises InvalidModel, InvalidInput."""
    tensorflow()
    from tensorflow.core.framework import graph_pb2

    where = request.path.name
    graph = graph_pb2.GraphDef()
    with explained(where, "the graph cannot be read", "fetch or export it again"):
        graph.ParseFromString(request.path.read_bytes())
    variables = [node.name for node in graph.node if node.op in _VARIABLES]
    if variables:
        raise InvalidModel(
            "the graph is not frozen",
            where=where,
            why=f"it has {len(variables)} variables ({', '.join(variables[:3])}) and does not hold their values",
            fix="freeze it with tf.compat.v1.graph_util.convert_variables_to_constants, or give a SavedModel folder",
        )
    outputs = _asked(graph, request, "outputs") or _open_ends(graph)
    if not outputs:
        raise InvalidInput(
            "the graph does not say what its outputs are",
            where=where,
            why="every node is read by another one",
            fix="name them: --option outputs=NAME,NAME",
        )
    inputs = _asked(graph, request, "inputs") or _placeholders(graph, outputs)
    return Frozen(graph, {_plain(name): name for name in inputs}, {_plain(name): name for name in outputs})


def _asked(graph: Any, request: Request, key: str) -> list[str]:
    """The tensors that an option names, ':0' added where it says no number. Raises InvalidInput."""
    names = [name.strip() for name in request.options.get(key, "").split(",") if name.strip()]
    known = {node.name for node in graph.node}
    unknown = [name for name in names if name.partition(":")[0] not in known]
    if unknown:
        from difflib import get_close_matches

        close = get_close_matches(unknown[0], sorted(known), n=3)
        raise InvalidInput(
            f"the graph has no node {unknown[0]!r}",
            where=f"{request.path.name}, --option {key}",
            fix=f"did you mean {', '.join(close)}?" if close else "check the names with `neoc inspect`",
        )
    return list(dict.fromkeys(name if ":" in name else f"{name}:0" for name in names))


def _plain(name: str) -> str:
    return name.removesuffix(":0")


def _sources(node: Any) -> list[str]:
    """The nodes that `node` reads, by name; control inputs left out."""
    return [name.partition(":")[0] for name in node.input if not name.startswith("^")]


def _open_ends(graph: Any) -> list[str]:
    read_by_others = {name for node in graph.node for name in _sources(node)}
    return [f"{node.name}:0" for node in graph.node if node.name not in read_by_others and node.op not in _NO_RESULT]


def _placeholders(graph: Any, outputs: Sequence[str]) -> list[str]:
    """The placeholders without a default that the outputs depend on, in the order of the graph."""
    nodes = {node.name: node for node in graph.node}
    seen: set[str] = set()
    waiting = [name.partition(":")[0] for name in outputs]
    while waiting:
        name = waiting.pop()
        if name not in seen and name in nodes:
            seen.add(name)
            waiting += _sources(nodes[name])
    return [f"{node.name}:0" for node in graph.node if node.name in seen and node.op == "Placeholder"]


def _notes(frozen: Frozen, request: Request) -> tuple[str, ...]:
    guessed = [
        f"{key} inferred: {', '.join(names)}"
        for key, names in (("inputs", frozen.inputs), ("outputs", frozen.outputs))
        if key not in request.options
    ]
    return (f"{'; '.join(guessed)} (--option inputs=..., outputs=... say otherwise)",) if guessed else ()
