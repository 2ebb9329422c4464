"""neoc run ARTIFACT --data IN.npz -o OUT.npz"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neoc.cli import arguments, console


def command(
    artifact: Annotated[Path, typer.Argument(help="A .neoc file.", show_default=False)],
    data: Annotated[Path, typer.Option(help="An .npz whose arrays are named like the inputs.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The .npz to write.")],
    threads: Annotated[int | None, typer.Option(help="Threads; as raced where not given.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> int:
    """Run an artifact on an .npz of inputs; outputs of several samples are stacked."""
    import numpy as np

    from neoc.compile.contracts import Signature
    from neoc.compile.inputs import load_data, save_npz
    from neoc.targets import open_artifact

    place = arguments.output_file(output, "outputs.npz", several=False)
    with open_artifact(artifact, threads=threads) as session:
        samples = load_data(data, Signature(session.inputs, session.outputs))
        results = [session.run(sample) for sample in samples]
    first = results[0]
    arrays = first if len(results) == 1 else {name: np.stack([r[name] for r in results]) for name in first}
    save_npz(place, arrays)
    shapes = {name: [str(array.dtype), list(array.shape)] for name, array in arrays.items()}
    if as_json:
        console.print_json({"output": str(place), "samples": len(samples), "arrays": shapes})
    else:
        rows = [(name, dtype, "x".join(map(str, shape))) for name, (dtype, shape) in shapes.items()]
        console.table(str(place), ("output", "dtype", "shape"), rows)
    return 0
