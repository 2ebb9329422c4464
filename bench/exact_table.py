"""`make bench-exact`: ten models at fixed sizes, rewritten exactly, against the engines as their own docs have them.

Each model is compiled with its inputs bound to the sizes of its data, checked against float64, and measured beside
onnxruntime's defaults and OpenVINO's f32 latency hint on the untouched file, three processes in turns, one thread. The
PyTorch models are written as ONNX first, so that every subject gets the same file.

usage: python -m neoc.bench.exact_table [--seconds S] [--write FILE.md] [MODEL...]
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from neoc.bench import torch_models, zoo
from neoc.bench.tables import between
from neoc.bench.zoo_table import measured, row, table
from neoc.compile import frontends
from neoc.compile.errors import NeocError
from neoc.compile.files import write_atomically
from neoc.compile.options import CompileOptions, InputBinding

ZOO = (
    "silero_vad_openvino_16k",
    "silero_vad_16k_sequence",
    "ppocrv4_det",
    "ppocr_cls",
    "magika",
    "basic_pitch",
)
TORCH = ("minilm", "pnet", "rnet", "onet")
MARKS = ("<!-- exact table: written by make bench-exact -->", "<!-- end of the exact table -->")


def fetched(name: str, folder: Path) -> tuple[Path, Path]:
    """The model as ONNX, and its data."""
    if name in ZOO:
        (entry,) = zoo.fetch([name], folder)
        assert entry.data is not None
        return entry.path, entry.data
    maker = getattr(torch_models, name)
    source, data = maker(folder, 128) if name == "minilm" else maker(folder)
    loaded = frontends.load(source, {}, CompileOptions(inputs=_sizes(data)))
    assert loaded.source is not None
    place = folder / name / f"{name}.onnx"
    shutil.copytree(loaded.source.graph.parent, place.parent)  # the graph and what lies in files beside it
    (place.parent / loaded.source.graph.name).rename(place)
    return place, data


def _sizes(data: Path) -> dict[str, InputBinding]:
    """Every input at the size of one of its samples: the first axis of the file counts them."""
    with np.load(data) as arrays:
        return {name: InputBinding(arrays[name].shape[1:]) for name in arrays.files}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="models; all ten where none is named")
    parser.add_argument("--seconds", type=float, default=15.0, help="measuring time a model")
    parser.add_argument("--race-seconds", type=float, default=10.0)
    parser.add_argument("--max-load", type=float, default=0.1, help="what others may take before a run is void")
    parser.add_argument("--write", type=Path, help="put the table between the marks of this page")
    parser.add_argument("-o", "--output", type=Path, help="write the records here (JSON)")
    asked = parser.parse_args(arguments)
    results, failed = [], list[str]()
    with tempfile.TemporaryDirectory(prefix="neoc-exact-") as scratch:
        for name in asked.names or (*ZOO, *TORCH):
            folder = Path(scratch) / f"of-{name}"
            folder.mkdir()
            started = time.monotonic()
            try:
                model, data = fetched(name, folder)
                options = CompileOptions(inputs=_sizes(data), data=data, race_seconds=asked.race_seconds)
                result = measured(name, model, data, folder, options, asked.seconds, asked.max_load)
            except NeocError as error:
                print(f"{name}: {error}", flush=True)
                failed.append(name)
                continue
            results.append(result)
            print("  ".join([*row(result), f"{time.monotonic() - started:.0f} s"]), flush=True)
    text = table(results)
    if failed:
        text += f"\n\nNot measured in this run, because they failed: {', '.join(failed)}."
    print(f"\n{text}")
    if asked.output is not None:
        write_atomically(asked.output, json.dumps(results, indent=1).encode())
    if asked.write is not None:
        between(asked.write, MARKS, text)
    if failed:
        sys.exit(f"{len(failed)} of the models failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
