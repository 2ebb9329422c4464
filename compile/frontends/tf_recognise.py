"""Which TensorFlow format a path holds, by its bytes alone."""

from __future__ import annotations

from pathlib import Path

from neoc.compile.frontends.protobuf import fields

_FIELDS = {1: 2, 2: 2, 3: 0, 4: 2, 5: 2}
"""of GraphDef: number -> wire type (tensorflow/core/framework/graph.proto)"""
_NODE, _NAME, _OP = 1, 1, 2
_MOST_NODES = 1_000_000


def is_saved_model(path: Path) -> bool:
    """Whether `path` is a folder that says it is a SavedModel."""
    return path.is_dir() and any((path / name).is_file() for name in ("saved_model.pb", "saved_model.pbtxt"))


def is_graph_def(path: Path) -> bool:
    """Whether the file reads to its very end as a GraphDef whose first node has a name and an op."""
    if not path.is_file():
        return False
    nodes = 0
    with path.open("rb") as file:
        for number, wire, start, size in fields(file, 0, file.seek(0, 2), _MOST_NODES):
            if _FIELDS.get(number) != wire:
                return False
            if number == _NODE:
                nodes += 1
                if nodes == 1 and not {(_NAME, 2), (_OP, 2)} <= {
                    (inner, kind) for inner, kind, _, _ in fields(file, start, start + size, 100)
                }:
                    return False
    return nodes > 0
