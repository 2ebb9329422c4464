"""Damages real models and loads each one: it must become a Program or a NeocError of exit status 2, and nothing else.

    python tests/fuzz/fuzz_onnx.py --count 2000 [--seed 0] [--passes] [--keep FOLDER] [MODEL...]

Every load happens in a child with bounded memory and time, so that a native crash or a hang is seen and survived.
Models default to the ONNX ones of the zoo. Prints a summary as JSON; exit status 1 when any load went wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import resource
import selectors
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import mutations

TIME_BOUND_S = 60
MEMORY_BOUND_BYTES = 6 << 30
"""address space of a child: the libraries map about two gigabytes themselves"""

GOOD = ("program", "refused")


# ---- the child -------------------------------------------------------------------------------------


def child(with_passes: bool) -> None:
    """Load the files named on standard input, one a line; answer each with one JSON line."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BOUND_BYTES, MEMORY_BOUND_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in sys.stdin:
        outcome, detail = attempt(Path(line.rstrip("\n")), with_passes)
        print(json.dumps([outcome, detail]), flush=True)


def attempt(path: Path, with_passes: bool = False) -> tuple[str, str]:
    """('program' | 'refused' | 'untyped' | 'memory' | 'status', what exactly)"""
    from neoc.compile import inputs, onnx_io, passes
    from neoc.compile.errors import NeocError
    from neoc.compile.frontends import load

    try:
        program = load(path, {})
        assert len(program.digest) == 64
        assert program.signature.outputs
        assert onnx_io.to_bytes(program.model)
        inputs.generate(program, 0, 1)
        if with_passes:
            passes.run(program, passes.DEFAULT)
    except NeocError as error:
        return ("refused" if error.exit_status == 2 else "status"), f"{type(error).__name__}: {error}"
    except MemoryError:
        return "memory", traceback.format_exc()
    except Exception:  # whatever escapes is what this looks for
        return "untyped", traceback.format_exc()
    return "program", ""


class Child:
    """One child process, replaced when it is lost."""

    def __init__(self, command: Sequence[str], bound_s: float = TIME_BOUND_S) -> None:
        self._command = tuple(command)
        self._bound_s = bound_s
        self._process: subprocess.Popen[str] | None = None

    def load(self, path: Path) -> tuple[str, str]:
        """(outcome, detail), as `attempt` says, or 'crash', or 'hang'"""
        if self._process is None:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(f"{path}\n")
            process.stdin.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            answered = bool(selector.select(self._bound_s))
        line = process.stdout.readline() if answered else ""
        if line:
            outcome, detail = json.loads(line)
            return outcome, detail
        self.close()
        if not answered:
            return "hang", f"no answer in {self._bound_s} s"
        return "crash", f"exit status {process.returncode}"

    def close(self) -> None:
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.2)  # where it is dying by itself, its own exit status is the one to tell
            self._process.kill()
            with contextlib.suppress(BrokenPipeError):
                self._process.communicate()
            self._process = None


# ---- the parent ------------------------------------------------------------------------------------


def fuzz(models: list[Path], count: int, seed: int, keep: Path | None, command: Sequence[str]) -> dict[str, object]:
    """Try `count` mutations. Returns outcomes -> how many, and the failures with their kind and number."""
    contents = [path.read_bytes() for path in models]
    outcomes: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    failures: list[dict[str, str]] = []
    child = Child(command)
    with tempfile.TemporaryDirectory(prefix="neoc-fuzz-") as folder:
        target = Path(folder) / "mutated.onnx"
        for number in range(count):
            rng = random.Random(f"{seed}/{number}")
            which = rng.randrange(len(models))
            kind, data = mutations.mutate(contents[which], contents[rng.randrange(len(models))], rng)
            target.write_bytes(data)
            outcome, detail = child.load(target)
            outcomes[outcome] += 1
            kinds[f"{kind}: {outcome}"] += 1
            if outcome not in GOOD:
                failures.append({"number": str(number), "model": models[which].name, "kind": kind, "detail": detail})
                if keep is not None:
                    (keep / f"{seed}-{number}-{outcome}.onnx").write_bytes(data)
            print(f"\r{number + 1}/{count} {dict(outcomes)}", end="", file=sys.stderr, flush=True)
        child.close()
    print(file=sys.stderr)
    return {"seed": seed, "count": count, "outcomes": dict(outcomes), "kinds": dict(kinds), "failures": failures}


def zoo() -> list[Path]:
    from neoc.bench.zoo import fetch, sources

    names = [name for name, source in sources().items() if source.files[0].path.endswith(".onnx")]
    return [entry.path for entry in fetch(names)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for the models that went wrong")
    parser.add_argument("--passes", action="store_true", help="bring what loads into normal form as well")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.passes)
        return 0
    command = [sys.executable, __file__, "--child", *(["--passes"] if arguments.passes else [])]
    result = fuzz(arguments.models or zoo(), arguments.count, arguments.seed, arguments.keep, command)
    print(json.dumps(result, indent=1))
    return 1 if result["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
