"""neoc run ARTIFACT --data IN.npz | --raw ITEMS -o OUT"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neoc.cli import arguments, console
from neoc.compile.errors import InvalidInput, UsageError

if TYPE_CHECKING:
    import numpy as np

    from neoc.compile.contracts import Session


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
    output: Annotated[Path, typer.Option("-o", "--output", help="The .npz to write; with --raw also .json.")],
    data: Annotated[Path | None, typer.Option(help="An .npz whose arrays are named like the inputs.")] = None,
    raw: Annotated[
        Path | None,
        typer.Option(help="Raw items: a folder of images, .csv or other table, .jsonl of token ids, .npz."),
    ] = None,
    threads: Annotated[int | None, typer.Option(help="Threads; as raced where not given.")] = None,
    device: Annotated[str | None, typer.Option(help="Which device or cores, as the engine calls them.")] = None,
    option: Annotated[
        list[str] | None, typer.Option("--option", help="executor=NAME: a simulator in the chip's place.")
    ] = None,
    on: Annotated[str | None, typer.Option(help="Run on this device (`neoc device add`), over ssh.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> int:
    """Run an artifact on an .npz of its inputs, or on raw items through its own pre- and post-processing."""
    if (data is None) == (raw is None):
        raise UsageError("one of --data and --raw is needed", fix="--data inputs.npz, or --raw images/")
    if raw is not None:
        return _raw(artifact, raw, output, _Opening(artifact, threads, device, _pairs(option), on), as_json)
    assert data is not None
    from neoc.compile.contracts import Signature
    from neoc.compile.inputs import load_data, save_npz

    place = arguments.output_file(output, "outputs.npz", several=False, sources=(artifact, data))
    with _Opening(artifact, threads, device, _pairs(option), on).session() as session:
        _stamped(session.stamp)
        stamp = session.stamp
        samples = load_data(data, Signature(session.inputs, session.outputs))
        results = [session.run(sample) for sample in samples]
    arrays = gathered(results)
    save_npz(place, arrays)
    _tell(place, len(samples), arrays, as_json, stamp)
    return 0


@dataclass(frozen=True)
class _Opening:
    """Where and how the artifact is opened; `on`: a device's name, None for this machine."""

    artifact: Path
    threads: int | None
    device: str | None
    options: dict[str, str]
    on: str | None

    def session(self) -> Session:
        if self.on is None:
            from neoc.targets import open_artifact

            return open_artifact(self.artifact, threads=self.threads, device=self.device, options=self.options)
        from neoc.targets.remote.link import open_on

        with console.Progress(enabled=True).live(f"opening on {self.on}") as progress:
            return open_on(self.on, self.artifact, self.threads, self.device, self.options, progress)


def _pairs(option: Sequence[str] | None) -> dict[str, str]:
    return dict(arguments.pairs(option or []))


def _stamped(stamp: str) -> None:
    if stamp:
        console.note(stamp)


def _tell(place: Path, samples: int, arrays: Mapping[str, np.ndarray], as_json: bool, stamp: str) -> None:
    shapes = {name: [str(array.dtype), list(array.shape)] for name, array in arrays.items()}
    if as_json:
        console.print_json({"output": str(place), "samples": samples, "arrays": shapes, "stamp": stamp})
    else:
        rows = [(name, dtype, "x".join(map(str, shape))) for name, (dtype, shape) in shapes.items()]
        console.table(str(place), ("output", "dtype", "shape"), rows)


# ---- raw items -------------------------------------------------------------------------------


def _raw(
    artifact: Path,
    raw: Path,
    output: Path,
    opening: _Opening,
    as_json: bool,
) -> int:
    """Answers in the order of the items; items that failed are named, and make the exit status 2."""
    from neoc.compile import raw_files
    from neoc.compile.inputs import save_npz

    place = arguments.output_file(output, "answers.json", several=False, sources=(artifact, raw))
    if place.suffix not in (".json", ".npz"):
        raise UsageError("answers are written as .json or .npz", where=str(place), fix="-o answers.json")
    with opening.session() as session:
        _stamped(session.stamp)
        stamp = session.stamp
        if session.raw is None:
            session.run_raw([])  # raises what there is to say
            raise AssertionError("a session without steps ran raw items")
        items = raw_files.load(raw, session.raw.slots)
        answers = session.run_raw(items.items)
    failed = {n: a for n, a in zip(items.names, answers, strict=True) if isinstance(a, Exception)}
    done = {n: a for n, a in zip(items.names, answers, strict=True) if isinstance(a, dict)}
    if not done:
        raise InvalidInput(
            "no item could be run", where=str(raw), why=str(next(iter(failed.values()), "there is none"))
        )
    if place.suffix == ".npz":
        save_npz(place, stacked(done))
    else:
        _write_json(place, [_record(n, a) for n, a in zip(items.names, answers, strict=True)])
    for name, error in failed.items():
        console.error(f"{name}: {error}")
    if as_json:
        console.print_json(
            {
                "output": str(place),
                "items": len(answers),
                "failed": {n: str(e) for n, e in failed.items()},
                "stamp": stamp,
            }
        )
    else:
        shown = list(done.items())[:20]
        rows = [(n, *(_text(a[key]) for key in a)) for n, a in shown]
        rest = len(done) - len(shown)
        console.table(str(place), ("item", *shown[0][1]), rows, f"and {rest} more" if rest else "")
    return InvalidInput.exit_status if failed else 0


def stacked(answers: Mapping[str, Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Answers as arrays: stacked where the shapes agree, else numbered by item; parts of an answer as NAME.PART.

    `item` holds the items' names in order.
    """
    import numpy as np

    flat = [_flat(answer) for answer in answers.values()]
    found: dict[str, np.ndarray] = {"item": np.array(list(answers))}
    for name in dict.fromkeys(key for answer in flat for key in answer):
        values = {item: np.asarray(a[name]) for item, a in zip(answers, flat, strict=True) if name in a}
        if len(values) == len(flat) and len({(v.shape, v.dtype.kind) for v in values.values()}) == 1:
            found[name] = np.stack(list(values.values()))
        else:
            found |= {f"{name}.{i}": values[item] for i, item in enumerate(answers) if item in values}
    return found


def _flat(answer: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in answer.items():
        made |= _flat(value, f"{before}{key}.") if isinstance(value, Mapping) else {f"{before}{key}": value}
    return made


def _record(name: str, answer: object) -> dict[str, Any]:
    return {"item": name, "error": str(answer)} if isinstance(answer, Exception) else {"item": name, "answer": answer}


def _write_json(place: Path, records: list[dict[str, Any]]) -> None:
    from neoc.compile.files import atomic_file

    with atomic_file(place) as file:
        file.write(json.dumps(records, indent=1, default=_plain).encode())


def _plain(value: Any) -> Any:
    """numpy's values as JSON's, floats as the shortest text that gives them back."""
    if value.dtype.kind == "f" and value.dtype.itemsize < 8:
        value = value.astype(str).astype(float)
    return value.tolist()


def _text(value: Any) -> str:
    if isinstance(value, dict) and "labels" in value:
        scores = value["values"] if "values" in value else value["scores"]
        return ", ".join(f"{n} {v:.3g}" for n, v in zip(value["labels"], scores, strict=False)) or "-"
    text = json.dumps(value, default=_plain)
    return text if len(text) <= 60 else text[:57] + "..."
