"""`make bench-static`: what a variant for exact sizes and bound buffers gain, on zoo models whose sizes are open.

Each model is compiled once, as it is and for the sizes of its data (`--static data`), without rewrites. One process
then calls the open variant, the static one, and a binding of the static one, in turns, with the same feeds.

usage: python -m neoc.bench.static_table [--seconds S] [--write FILE.md] [MODEL...]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from neoc.bench import zoo
from neoc.compile import inputs
from neoc.compile.contracts import Session
from neoc.compile.files import write_atomically
from neoc.compile.measure import Ratio, interleave, ratio
from neoc.compile.options import OF_DATA, CompileOptions
from neoc.compile.pipeline import compile_model
from neoc.compile.registry import load_target
from neoc.targets.opening import open_artifact

MODELS = ("silero_vad_16k_sequence", "ppocr_cls", "ppocrv4_det", "magika")
MARKS = ("<!-- static table: written by make bench-static -->", "<!-- end of the static table -->")
_HEAD = ("model", "open", "static", "open ms", "static ms", "bound ms", "open / static", "static / bound")


def measured(name: str, folder: Path, seconds: float, race_seconds: float) -> list[str]:
    """One row of the table."""
    (entry,) = zoo.fetch([name], folder)
    options = CompileOptions(data=entry.data, static=(OF_DATA,), race_seconds=race_seconds, rewrites=())
    artifact = compile_model(entry.path, load_target("host"), options, output=folder / f"{name}.neoc")
    whole, fixed = (variant["id"] for variant in artifact.manifest["variants"])
    assert entry.data is not None
    feeds = {n: np.ascontiguousarray(a) for n, a in inputs.load_data(entry.data, artifact.signature)[0].items()}
    with ExitStack() as stack:
        sessions: list[Session] = [stack.enter_context(open_artifact(artifact.path, variant=v)) for v in (whole, fixed)]
        binding = stack.enter_context(sessions[1].bind(feeds, None))
        timers = {
            "open": _timer(lambda: sessions[0].run(feeds)),
            "static": _timer(lambda: sessions[1].run(feeds)),
            "bound": _timer(binding.run),
        }
        seen = interleave(timers, budget_s=seconds)
    gain, bound = ratio(seen["open"], seen["static"]), ratio(seen["static"], seen["bound"])
    medians = [f"{seen[key].median_ns / 1e6:.3g}" for key in timers]
    return [name, whole, fixed.partition("@")[0], *medians, _interval(gain), _interval(bound)]


def _timer(call: Callable[[], object]) -> Callable[[int], np.ndarray]:
    def timed(count: int) -> np.ndarray:
        taken = np.empty(count, np.int64)
        for index in range(count):
            begun = time.perf_counter_ns()
            call()
            taken[index] = time.perf_counter_ns() - begun
        return taken

    return timed


def _interval(found: Ratio) -> str:
    return f"{found.median:.2f} [{found.low:.2f}, {found.high:.2f}]"


def table(rows: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [_HEAD, ["---"] * len(_HEAD), *rows])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"models of the zoo with open sizes; default: {', '.join(MODELS)}")
    parser.add_argument("--seconds", type=float, default=8.0, help="measuring time a model")
    parser.add_argument("--race-seconds", type=float, default=3.0)
    parser.add_argument("--write", type=Path, help="put the table between the marks of this page")
    asked = parser.parse_args(arguments)
    rows = []
    with tempfile.TemporaryDirectory(prefix="neoc-static-") as scratch:
        for name in asked.names or MODELS:
            folder = Path(scratch) / name
            folder.mkdir()
            rows.append(measured(name, folder, asked.seconds, asked.race_seconds))
            print("  ".join(rows[-1]), flush=True)
    print(f"\n{table(rows)}")
    if asked.write is not None:
        page = asked.write.read_text()
        head, rest = page.split(MARKS[0])
        text = f"{head}{MARKS[0]}\n\n{table(rows)}\n\n{MARKS[1]}{rest.split(MARKS[1])[1]}"
        write_atomically(asked.write, text.encode())


if __name__ == "__main__":
    main()
