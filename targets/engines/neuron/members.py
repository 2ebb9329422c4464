"""What an artifact for a Neuron chip holds, and how the weights lie in it.

module.hlo.pb   the compiler's input: HloModuleProto
weights.raw     the module's leading parameters one after another
io.json         what each parameter and result of the module is
model.neff      the program, where the compiler made one
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neoc.compile.contracts import dtype_of

if TYPE_CHECKING:
    from neoc.targets.engines.neuron.lower import Lowered

MODULE, WEIGHTS, IO, NEFF = "module.hlo.pb", "weights.raw", "io.json", "model.neff"
STANDIN_NEFF = "model.neff.standin"
"""what a stand-in of the compiler made: no name of a program for something that is none"""
ALIGNMENT = 64
"""bytes: on such a boundary each weight begins in the member"""


def write_members(lowered: Lowered, folder: Path, facts: Mapping[str, Any]) -> dict[str, Path]:
    """Module, weights (where there are any) and io.json, which `facts` go into as well."""
    (folder / MODULE).write_bytes(lowered.module)
    places: dict[str, dict[str, int]] = {}
    with (folder / WEIGHTS).open("wb") as file:
        for name, value in lowered.weights.items():
            file.write(bytes(-file.tell() % ALIGNMENT))
            places[name] = {"offset": file.tell(), "bytes": value.nbytes}
            file.write(value.tobytes())
    if not places:
        (folder / WEIGHTS).unlink()
    parameters = [
        {"kind": "weight" if spec.name in places else "input", **spec.as_dict(), **places.get(spec.name, {})}
        for spec in lowered.parameters
    ]
    io = {
        "version": 1,
        **facts,
        "parameters": parameters,
        "results": [spec.as_dict() for spec in lowered.results],
        "dropped": list(lowered.dropped),
    }
    (folder / IO).write_text(json.dumps(io, indent=1))
    return {name: folder / name for name in (MODULE, WEIGHTS, IO) if (folder / name).exists()}


def read_weights(io: Mapping[str, Any], data: memoryview | bytes) -> dict[str, np.ndarray]:
    """The weights by name, as views of the member weights.raw."""
    return {
        row["name"]: np.frombuffer(data, np.uint8, row["bytes"], row["offset"])
        .view(dtype_of(row["dtype"]))
        .reshape(row["shape"])
        for row in io["parameters"]
        if row["kind"] == "weight"
    }
