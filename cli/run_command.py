"""neoc run ARTIFACT --data IN.npz -o OUT.npz"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neoc.cli import arguments, console

if TYPE_CHECKING:
    import numpy as np


def gathered(results: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Outputs by name: of one sample as they are, of several stacked along a new first axis.

    What does not stack (sequences, shapes that differ from sample to sample) is numbered: y.0, y.1.
    """
    import numpy as np

    found: dict[str, np.ndarray] = {}
    for name in results[0]:
        values = [result[name] for result in results]
        if any(isinstance(value, list) or value is None for value in values):
            flat = [item for value in values for item in (value if isinstance(value, list) else [value])]
            found |= {f"{name}.{i}": np.asarray(item) for i, item in enumerate(flat) if item is not None}
        elif len(values) == 1:
            found[name] = values[0]
        elif len({value.shape for value in values}) == 1:
            found[name] = np.stack(values)
        else:
            found |= {f"{name}.{i}": value for i, value in enumerate(values)}
    return found


def command(
    artifact: Annotated[Path, typer.Argument(help="A .neoc file.", show_default=False)],
    data: Annotated[Path, typer.Option(help="An .npz whose arrays are named like the inputs.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The .npz to write.")],
    threads: Annotated[int | None, typer.Option(help="Threads; as raced where not given.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> int:
    """Run an artifact on an .npz of inputs; outputs of several samples are stacked."""
    from neoc.compile.contracts import Signature
    from neoc.compile.inputs import load_data, save_npz
    from neoc.targets import open_artifact

    place = arguments.output_file(output, "outputs.npz", several=False, sources=(artifact, data))
    with open_artifact(artifact, threads=threads) as session:
        samples = load_data(data, Signature(session.inputs, session.outputs))
        results = [session.run(sample) for sample in samples]
    arrays = gathered(results)
    save_npz(place, arrays)
    shapes = {name: [str(array.dtype), list(array.shape)] for name, array in arrays.items()}
    if as_json:
        console.print_json({"output": str(place), "samples": len(samples), "arrays": shapes})
    else:
        rows = [(name, dtype, "x".join(map(str, shape))) for name, (dtype, shape) in shapes.items()]
        console.table(str(place), ("output", "dtype", "shape"), rows)
    return 0
