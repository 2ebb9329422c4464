"""Damages PyTorch files and loads each one: it must become a Program or an error of neoc's, and nothing may run.

    python tests/fuzz/fuzz_torch.py --count 300 [--seed 0] [--keep FOLDER]

Sources: an exported program, a traced and a scripted TorchScript archive, state dicts in torch's new and old form, a
pickled module, pickles that would touch a file (one hidden in an exported program), and each inside a model.tar.gz.
Damage is done under the zip and gzip layers too, with their checksums made right again, so that it reaches the readers
behind them. Loads share one worker; one that is lost is counted (it is a typed error of exit status 1) and replaced.
Prints a summary as JSON; exit status 1 when any load went wrong.
"""

from __future__ import annotations

import argparse
import io
import json
import pickle
import random
import sys
import tarfile
import tempfile
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))

import torch_models

from neoc.compile import worker
from neoc.compile.errors import InternalError, NeocError, WorkerFailure, WorkerRefused
from neoc.compile.frontends import load
from neoc.compile.options import CompileOptions, InputBinding

GOOD = ("program", "refused", "lost")
TIME_BOUND_S = 120.0
MARKER = "unpickled"


@dataclass(frozen=True)
class Source:
    name: str
    data: bytes
    inputs: Mapping[str, InputBinding]


def sources(folder: Path) -> list[Source]:
    """Small real files of every kind that the PyTorch front ends and the pickle policy meet."""
    import torch

    net = torch_models.net()
    image = {"image": InputBinding((2, 3, 12, 12))}
    script = {"x": InputBinding((2, 4))}
    found = [Source("net.pt2", torch_models.exported(folder / "net.pt2").read_bytes(), {})]
    for name, module, inputs in (
        ("traced.pt", torch.jit.trace(torch_models.mlp(), torch.randn(2, 4)), {"x": InputBinding((2, 4))}),
        ("scripted.jit", torch.jit.script(torch_models.mlp()), script),
    ):
        torch.jit.save(module, folder / name)
        found.append(Source(name, (folder / name).read_bytes(), inputs))
    for name, value, new in (("state.pt", net.state_dict(), True), ("old.pt", net.state_dict(), False)):
        torch.save(value, folder / name, _use_new_zipfile_serialization=new)
        found.append(Source(name, (folder / name).read_bytes(), image))
    torch.save(torch.nn.Sequential(torch.nn.Linear(3, 3)), folder / "module.pt")
    found.append(Source("module.pt", (folder / "module.pt").read_bytes(), image))
    harm = pickle.dumps(_Harm(folder / MARKER))
    found.append(Source("harm.pkl", harm, image))
    hidden = {n: harm if n.endswith("model.pt") else d for n, d in _members(found[0].data).items()}
    found.append(Source("hidden.pt2", _zipped(hidden), {}))
    return found


class _Harm:
    """Touches a file where it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = str(marker)

    def __reduce__(self) -> tuple[object, ...]:
        return (open, (self.marker, "w"))


# ---- damage ------------------------------------------------------------------------------------


def damage(data: bytes, rng: random.Random) -> tuple[str, bytes]:
    """(what was done, the damaged file)"""
    kind = rng.choice(("bytes", "cut", "member", "member", "member", "member text", "drop", "swap", "repeat"))
    members = _members(data)
    if kind == "cut":
        return kind, data[: rng.randrange(len(data))]
    if kind == "bytes" or not members:
        return "bytes", _flip(data, rng)
    names = list(members)
    # The graph, the code and the pickles are smaller than the weights and matter more.
    name = rng.choice([n for n in names if n.endswith((".json", ".pkl", ".py", ".pt"))] or names)
    if kind == "drop":
        del members[rng.choice(names)]
    elif kind == "swap":
        other = rng.choice(names)
        members[name], members[other] = members[other], members[name]
    elif kind == "repeat":
        members[name] = members[name] + members[name]
    elif kind == "member text":
        members[name] = _retext(members[name], rng)
    else:
        members[name] = _flip(members[name], rng)
    return kind, _zipped(members)


def _members(data: bytes) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    except zipfile.BadZipFile:
        return {}


def _zipped(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _flip(data: bytes, rng: random.Random) -> bytes:
    if not data:
        return b"\0"
    changed = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        changed[rng.randrange(len(changed))] = rng.choice((0, 1, 0x7F, 0xFF, rng.randrange(256)))
    return bytes(changed)


_WORDS = (b"0", b"-1", b"9223372036854775807", b"1e999", b"null", b'""', b"[]", b"{}", b"conv2d", b"float32", b"aten")


def _retext(data: bytes, rng: random.Random) -> bytes:
    """A number, or a word, of a text becomes another one."""
    import re

    spots = list(re.finditer(rb"-?\d+|\"[^\"]{0,40}\"|[A-Za-z_]{3,20}", data))
    if not spots:
        return _flip(data, rng)
    spot = rng.choice(spots)
    return data[: spot.start()] + rng.choice(_WORDS) + data[spot.end() :]


def _in_tar(name: str, data: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as archive:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


# ---- loading -----------------------------------------------------------------------------------


class Shared:
    """One worker for all loads: a start of torch takes seconds."""

    def __init__(self, plain: Callable[..., worker.Worker]) -> None:
        self._plain = plain
        self._worker: worker.Worker | None = None

    @contextmanager
    def __call__(self, *args: Any, **kwargs: Any) -> Iterator[worker.Worker]:
        if self._worker is None:
            self._worker = self._plain("fuzz", timeout_s=TIME_BOUND_S)
        try:
            yield self._worker
        except WorkerFailure as failure:
            if not isinstance(failure, WorkerRefused):
                self.close()
            raise

    def close(self) -> None:
        if self._worker is not None:
            self._worker.close()
            self._worker = None


def attempt(path: Path, inputs: Mapping[str, InputBinding]) -> tuple[str, str]:
    """('program' | 'refused' | 'lost' | 'untyped', what exactly)"""
    try:
        assert load(path, inputs, CompileOptions(use_cache=False)).signature.outputs
    except (WorkerRefused, InternalError):  # an error of torch's, or neoc's, that nobody put into words
        return "untyped", traceback.format_exc()
    except WorkerFailure as error:
        return "lost", str(error)
    except NeocError as error:
        return "refused", f"{type(error).__name__}: {error}"
    except Exception:  # whatever escapes is what this looks for
        return "untyped", traceback.format_exc()
    return "program", ""


def fuzz(count: int, seed: int, keep: Path | None) -> dict[str, object]:
    """Try `count` damaged files. Returns outcomes -> how many, and the failures with their kind and number."""
    outcomes: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    failures: list[dict[str, str]] = []
    shared = Shared(worker.Worker)
    with tempfile.TemporaryDirectory(prefix="neoc-fuzz-") as name, patch.object(worker, "Worker", shared):
        folder = Path(name)
        bases = sources(folder)
        for number in range(count):
            rng = random.Random(f"{seed}/{number}")
            base = bases[number % len(bases)]
            kind, data = damage(base.data, rng)
            target = folder / f"damaged-{base.name}"
            if rng.random() < 0.2:
                target, data = folder / "model.tar.gz", _in_tar(base.name, data)
            target.write_bytes(data)
            outcome, detail = attempt(target, base.inputs)
            outcomes[outcome] += 1
            kinds[f"{base.name}, {kind}: {outcome}"] += 1
            if (folder / MARKER).exists():
                outcome, detail = "unpickled", "code in the file was run"
                (folder / MARKER).unlink()
            if outcome not in GOOD:
                failures.append({"number": str(number), "source": base.name, "kind": kind, "detail": detail})
                if keep is not None:
                    (keep / f"{seed}-{number}-{target.name}").write_bytes(data)
            print(f"\r{number + 1}/{count} {dict(outcomes)}", end="", file=sys.stderr, flush=True)
        shared.close()
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
