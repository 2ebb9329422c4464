"""How the ONNX front end names what is wrong, and where."""

from __future__ import annotations

import onnx

from neoc.compile.errors import InvalidModel

_SHOWN = 80


def fault(where: str, why: str, fix: str = "") -> InvalidModel:
    """An InvalidModel about one place of the model; the reader of the file adds the file's name."""
    return InvalidModel(
        "the model is not valid ONNX", where=where, why=why, fix=fix or "export it again, or fetch it again"
    )


def shown(name: object) -> str:
    """A name as it can stand in a message: quoted, on one line, of bounded length."""
    text = repr(name)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 4]}...{text[-1]}"


def node_place(node: onnx.NodeProto, index: int, graph: str) -> str:
    """'node 'conv_3' (Conv) of the main graph'; nodes without a name go by number, counted from 0."""
    name = shown(node.name) if node.name else f"#{index}"
    return f"node {name} ({shown(node.op_type)[1:-1]}) of {graph}"


def need_text(value: object, where: str, what: str) -> None:
    """protobuf hands over text that is no UTF-8 as bytes; nothing after this point expects that."""
    if not isinstance(value, str):
        raise fault(where, f"{what} {shown(value)} is not UTF-8 text")
