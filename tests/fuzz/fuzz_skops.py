"""Damages scikit-learn files (skops) and reads each: it must become a graph or an error of neoc's, and nothing may run.

    python tests/fuzz/fuzz_skops.py --count 300 [--seed 0] [--keep FOLDER]

Sources: a forest, boosting, histograms with categories, an isolation forest, a pipeline with encoders and texts. Damage
is done to the zip, and under it: to numbers, words and types of the schema, to headers and contents of arrays, to what
members there are. Types from outside (a shell, an evaluator, a class of the file's own) and sizes without sense are put
in on purpose. Prints a summary as JSON; exit status 1 when any load went wrong.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from neoc.bench import tree_recipes
from neoc.compile.errors import InternalError, NeocError
from neoc.compile.frontends.trees import graph, sklearn, skops_file

GOOD = ("program", "refused")
TIME_BOUND_S = 60.0
MOST_MEMORY = 16 << 30
"""address space: what asks for more must end in a typed error, not in the machine's memory"""

_HOSTILE = (
    ("os", "system"),
    ("builtins", "eval"),
    ("subprocess", "Popen"),
    ("__main__", "Stranger"),
    ("functools", "partial"),
    ("numpy", "load"),
    ("operator", "methodcaller"),
    ("sklearn.ensemble._forest", "RandomForestRegressor"),
    ("sklearn.tree._tree", "Tree"),
    ("no_such_module", "Thing"),
)
_LOADERS = ("TypeNode", "FunctionNode", "PartialNode", "ReduceNode", "MethodNode", "ObjectNode")
_WORDS = (b"\xff" * 4, b"\0" * 4, b"\xff\xff\xff\x7f", b"\0\0\xc0\x7f")
_DTYPES = (b"'|O'", b"'<f2'", b"'<U999999999'", b"'M8[ns]'")
_SHAPES = (b"(999999999999,)", b"(0,)", b"(2, 3, 4)", b"(-1,)", b"()", b"(1073741824, 64)")
_NUMBERS = (b"0", b"-1", b"1", b"2147483648", b"999999999999999", b"1e999", b"null", b"[]", b"{}", b'"x"', b"true")


def sources() -> dict[str, bytes]:
    """Small real files of every kind of estimator."""
    found = {
        name: _dumped(tree_recipes.fitted(name)[0]) for name in ("forest", "boosting-classes", "histogram-categories")
    }
    found["isolation"] = _dumped(tree_recipes.fitted("isolation")[0])
    found["texts"] = _dumped(tree_recipes.text_pipeline()[0])
    return found


def _dumped(estimator: Any) -> bytes:
    import skops.io

    return bytes(skops.io.dumps(estimator))


# ---- damage ------------------------------------------------------------------------------------


def damage(data: bytes, rng: random.Random) -> tuple[str, bytes]:
    """(what was done, the damaged file)"""
    kind = rng.choice(list(_KINDS))
    if kind == "bytes":
        return kind, _flip(data, rng)
    if kind == "cut":
        return kind, data[: rng.randrange(len(data))]
    members = _members(data)
    _KINDS[kind](members, rng)
    return kind, _zipped(members)


def _members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _zipped(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _flip(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data or b"\0")
    for _ in range(rng.randint(1, 8)):
        changed[rng.randrange(len(changed))] = rng.choice((0, 1, 0x7F, 0xFF, rng.randrange(256)))
    return bytes(changed)


def _schema_number(members: dict[str, bytes], rng: random.Random) -> None:
    """A number of the schema becomes another one."""
    text = members["schema.json"]
    # A scalar is a text in a field called content.
    spots = list(re.finditer(rb'(?<="content": ")-?[0-9.e+-]+(?=")|(?<=: )-?\d+', text))
    spot = rng.choice(spots)
    members["schema.json"] = text[: spot.start()] + rng.choice(_NUMBERS) + text[spot.end() :]


def _schema_type(members: dict[str, bytes], rng: random.Random) -> None:
    """An object becomes one of another class."""
    schema = json.loads(members["schema.json"])
    nodes = [n for n in _nodes(schema) if "__class__" in n]
    node = rng.choice(nodes)
    node["__module__"], node["__class__"] = rng.choice(_HOSTILE)
    if rng.random() < 0.3:
        node["__loader__"] = rng.choice(
            ("TypeNode", "FunctionNode", "PartialNode", "ReduceNode", "MethodNode", "ObjectNode")
        )
    members["schema.json"] = json.dumps(schema).encode()


def _schema_shape(members: dict[str, bytes], rng: random.Random) -> None:
    """Two parts of the schema change places, one goes, or one nests without end."""
    schema = json.loads(members["schema.json"])
    nodes = [n for n in _nodes(schema) if isinstance(n.get("content"), dict | list)]
    one, other = rng.choice(nodes), rng.choice(nodes)
    what = rng.random()
    if what < 0.4:
        one["content"], other["content"] = other["content"], one["content"]
    elif what < 0.8:
        one.pop(rng.choice(list(one)))
    else:
        members["schema.json"] = b'{"content":' * 50_000 + b"1" + b"}" * 50_000
        return
    try:
        members["schema.json"] = json.dumps(schema).encode()
    except (ValueError, RecursionError):  # one holds the other: a circle, which JSON cannot say
        members["schema.json"] = members["schema.json"][: rng.randrange(len(members["schema.json"]))]


def _nodes(schema: Any) -> list[dict[str, Any]]:
    found, todo = [], [schema]
    while todo:
        node = todo.pop()
        if isinstance(node, dict):
            found.append(node)
            todo += node.values()
        elif isinstance(node, list):
            todo += node
    return found


def _array(members: dict[str, bytes], rng: random.Random) -> None:
    """Numbers of an array become others: children, features, thresholds."""
    name = _array_name(members, rng)
    try:
        array = np.load(io.BytesIO(members[name]), allow_pickle=False)
    except ValueError:
        members[name] = _flip(members[name], rng)
        return
    flat = array.reshape(-1).copy()
    raw = flat.view(np.uint8)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(max(1, len(raw) // 4)) * 4
        raw[at : at + 4] = np.frombuffer(rng.choice(_WORDS), np.uint8)[: len(raw) - at]
    buffer = io.BytesIO()
    np.save(buffer, flat.reshape(array.shape), allow_pickle=False)
    members[name] = buffer.getvalue()


def _array_header(members: dict[str, bytes], rng: random.Random) -> None:
    """An array claims another shape or dtype."""
    name = _array_name(members, rng)
    data = re.sub(rb"'shape': \([^)]*\)", b"'shape': " + rng.choice(_SHAPES), members[name], count=1)
    if rng.random() < 0.3:
        data = re.sub(rb"'descr': [^,]*,", b"'descr': " + rng.choice(_DTYPES) + b",", data, count=1)
    members[name] = data


def _array_name(members: dict[str, bytes], rng: random.Random) -> str:
    return rng.choice([n for n in members if n.endswith(".npy")] or list(members))


def _drop(members: dict[str, bytes], rng: random.Random) -> None:
    del members[rng.choice(list(members))]


def _swap(members: dict[str, bytes], rng: random.Random) -> None:
    one, other = rng.choice(list(members)), rng.choice(list(members))
    members[one], members[other] = members[other], members[one]


def _escape(members: dict[str, bytes], rng: random.Random) -> None:
    """Names that lead out of the archive, and members that nobody asked for."""
    name = rng.choice(("../../escaped", "/escaped", "schema.json/", "a" * 5000))
    members[name] = members[rng.choice(list(members))]


_KINDS: dict[str, Callable[[dict[str, bytes], random.Random], None]] = {
    "bytes": _drop,
    "cut": _drop,
    "number": _schema_number,
    "type": _schema_type,
    "schema": _schema_shape,
    "array": _array,
    "header": _array_header,
    "drop": _drop,
    "swap": _swap,
    "escape": _escape,
}
"""the first two are done to the file itself"""


# ---- loading -----------------------------------------------------------------------------------


class _Ran(Exception):
    """A file ran something."""


def _guard() -> None:
    """What a file must not reach."""

    def refuse(*_: object, **__: object) -> None:
        raise _Ran("a shell was asked for")

    os.system = refuse  # type: ignore[assignment]
    subprocess.Popen.__init__ = refuse  # type: ignore[method-assign]
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))


def attempt(path: Path) -> tuple[str, str]:
    """('program' | 'refused' | 'ran' | 'untyped' | 'slow', what exactly)"""
    start = time.monotonic()
    try:
        # What a worker does with the file, without one: what is run here could be run there.
        assert graph.build_estimator(sklearn.read(skops_file.load(path))).graph.output
        outcome, detail = "program", ""
    except _Ran:
        return "ran", traceback.format_exc()
    except InternalError:
        return "untyped", traceback.format_exc()
    except NeocError as error:
        outcome, detail = "refused", f"{type(error).__name__}: {error}"
    except BaseException:  # whatever escapes is what this looks for
        return "untyped", traceback.format_exc()
    if time.monotonic() - start > TIME_BOUND_S:
        return "slow", detail
    return outcome, detail


def fuzz(count: int, seed: int, keep: Path | None) -> dict[str, object]:
    """Try `count` damaged files. Returns outcomes -> how many, and the failures with their kind and number."""
    outcomes: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    failures: list[dict[str, str]] = []
    bases = list(sources().items())
    _guard()
    with tempfile.TemporaryDirectory(prefix="neoc-fuzz-") as folder:
        for number in range(count):
            rng = random.Random(f"{seed}/{number}")
            name, data = bases[number % len(bases)]
            kind, damaged = damage(data, rng)
            path = Path(folder) / "m.skops"
            path.write_bytes(damaged)
            outcome, detail = attempt(path)
            outcomes[outcome] += 1
            kinds[f"{name}, {kind}: {outcome}"] += 1
            if outcome not in GOOD:
                failures.append({"number": str(number), "source": name, "kind": kind, "detail": detail})
                if keep is not None:
                    (keep / f"{seed}-{number}.skops").write_bytes(damaged)
            print(f"\r{number + 1}/{count} {dict(outcomes)}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return {"seed": seed, "count": count, "outcomes": dict(outcomes), "kinds": dict(kinds), "failures": failures}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for the files that went wrong")
    arguments = parser.parse_args()
    result = fuzz(arguments.count, arguments.seed, arguments.keep)
    print(json.dumps(result, indent=1))
    return 1 if result["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
