"""Instructions that one inference takes on a chip, counted by a plugin of qemu's. Counts are not time.

They say nothing of caches, of how many instructions a core starts at once, or of how wide its vectors are used. What
they are good for is comparing two builds of one model for one core.

A qemu that loads plugins is linked dynamically, as Debian 12's and Ubuntu's qemu-user are; the newer one in which
artifacts are proven is not. So code is proven in one and counted in the other.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from neoc.compile.artifact import Artifact
from neoc.compile.contracts import Feeds, Session, Signature, Target, Variant
from neoc.compile.errors import MissingTool, NeocError, Unavailable
from neoc.compile.files import write_atomically
from neoc.compile.settings import Settings
from neoc.targets import guest, tree_runner
from neoc.targets.emulation import START_S, guest_environment

SOURCE = Path(__file__).with_name("count_instructions.c")
MARK = 0x6E656F
"""the system call at which the plugin writes its table; no kernel has it"""
REPEATS = 10
_OLDER = {"neoverse-v1": "max,sve-max-vq=2", "neoverse-n2": "max,sve-max-vq=1", "cortex-a76": "neoverse-n1"}
"""CPU models that qemu 7.2 lacks -> what has their vectors there: for counting that is enough, for a proof it is not"""
_COUNTED = re.compile(r"/(lib\.so|libtvm_\w+\.so|libonnxruntime\S*|onnxruntime_pybind\S*|libm\.so\.6)( \(deleted\))?$")
"""files whose code is the model's or its engine's; the interpreter around them is left out"""


@dataclass(frozen=True)
class Instructions:
    """Of one call of the session on one sample."""

    count: int
    cpu: str
    """the -cpu that counted"""
    by: Mapping[str, int]
    """file -> its share"""


def count(artifact: Artifact, feeds: Feeds) -> Instructions:
    """Instructions of one call on `feeds`. Raises MissingTool (no plugin, no emulator), Unavailable (why not here)."""
    steps = artifact.variant(None)["steps"]
    if len(steps) != 1:
        raise _unavailable("it has several steps")
    (step,) = steps
    contents = artifact.read(step["members"].values(), whole=True)
    members = {name: contents[path] for name, path in step["members"].items()}
    target = Target.from_dict(artifact.manifest["target"])
    return count_members(step["engine"], members, artifact.signature, Variant.from_dict(step["variant"]), target, feeds)


def count_members(
    engine: str,
    members: Mapping[str, memoryview],
    signature: Signature,
    variant: Variant,
    target: Target,
    feeds: Feeds,
) -> Instructions:
    """The same of what an engine built. Raises MissingTool, Unavailable."""
    model = str(target.fact("emulated_as", ""))
    if not model:
        raise _unavailable(f"qemu does not stand in for {target.title}")
    if engine == "trees":
        return _of_trees(members, next(iter(feeds.values())), target.arch, model)
    if target.arch != "aarch64":
        raise _unavailable(f"nothing runs {engine}'s {target.arch} code under qemu")
    return _of_session(engine, members, signature, variant, feeds, model)


def _unavailable(why: str) -> Unavailable:
    return Unavailable("instructions cannot be counted", why=why)


# ---- the plugin ------------------------------------------------------------------------------


@cache
def plugin(arch: str) -> tuple[str, Path]:
    """(a qemu of this machine that loads it, the plugin), tried. `arch`: 'aarch64' or 'arm'. Raises MissingTool."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    emulators = [q for q in (shutil.which(f"qemu-{arch}"), shutil.which(f"qemu-{arch}-static")) if q]
    if compiler is None or not emulators:
        raise MissingTool("there is no plugin of qemu", why="it takes a C compiler and qemu-user", fix="install them")
    for api in (1, 2, 3, 4):  # each qemu takes those from a least one up to its own
        path = _made(compiler, api)
        for qemu in emulators:
            if _loads(qemu, path):
                return qemu, path
    why = f"{', '.join(emulators)}: linked statically, or built without plugins"
    raise MissingTool("no qemu here loads a plugin", why=why, fix="install a dynamic one (Debian 12: qemu-user)")


def _made(compiler: str, api: int) -> Path:
    key = hashlib.sha256(SOURCE.read_bytes() + bytes([api])).hexdigest()[:12]
    path = Settings.read().cache_dir / "emulation" / f"count_instructions-{key}.so"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            made = Path(folder) / "plugin.so"
            command = [compiler, "-O2", "-fPIC", "-shared", f"-DAPI={api}", "-o", str(made), str(SOURCE)]
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise MissingTool("the plugin cannot be compiled", why=" ".join(done.stderr.split()[-40:]))
            write_atomically(path, made.read_bytes())
    return path


def _loads(qemu: str, path: Path) -> bool:
    """qemu reads its arguments, plugins among them, before it looks for the program that it lacks here."""
    with tempfile.TemporaryDirectory() as folder:
        command = [qemu, "-plugin", f"{path},out={folder}/out", f"{folder}/no-such-program"]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    return not re.search(r"unknown option|plugin", done.stderr)


def _tables(path: Path) -> list[dict[int, int]]:
    """The plugin's tables in order: page -> instructions so far."""
    tables: list[dict[int, int]] = []
    for line in path.read_text().splitlines():
        if line == "mark":
            tables.append({})
        else:
            page, number = line.split()
            tables[-1][int(page, 16)] = int(number)
    return tables


def _counting_model(qemu: str, model: str) -> str:
    known = subprocess.run(
        [qemu, "-cpu", "help"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    return model if model in known.stdout.split() else _OLDER.get(model, model)


# ---- trees: a static program -----------------------------------------------------------------


def _of_trees(members: Mapping[str, memoryview], rows: np.ndarray, arch: str, model: str) -> Instructions:
    """Of the kernel alone: what twice as many calls add. The steps behind the margins are numpy's."""
    import json

    facts = json.loads(bytes(members["steps.json"]))
    qemu, path = plugin({"armv7": "arm"}.get(arch, arch))
    cpu = _counting_model(qemu, model)
    totals = []
    for repeats in (1, 1 + REPEATS):
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "out"
            predictor = tree_runner.EmulatedPredictor(
                members["kernel.bin"],
                members["tables.bin"],
                np.dtype(facts["row"]).type,
                np.dtype(facts["total"]).type,
                arch=arch,
                cpu=cpu,
                qemu=(qemu, "-plugin", f"{path},out={out}"),
            )
            try:
                predictor(rows, repeats)
            finally:
                predictor.close()
            totals.append(sum(_tables(out)[-1].values()))
    found = (totals[1] - totals[0]) // REPEATS
    return Instructions(found, cpu, {"kernel": found})


# ---- other engines: the emulated interpreter -------------------------------------------------


def _of_session(
    engine: str, members: Mapping[str, memoryview], signature: Signature, variant: Variant, feeds: Feeds, model: str
) -> Instructions:
    from neoc.compile.worker import Worker

    found = guest.find()
    if isinstance(found, str):
        raise MissingTool("instructions cannot be counted", why=found)
    qemu, path = plugin("aarch64")
    cpu = _counting_model(qemu, model)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="neoc-count-")))
        own = stack.enter_context(guest.own_packages())
        prefix = (qemu, "-plugin", f"{path},out={folder / 'out'}", "-cpu", cpu, "-L", str(found.root))
        env = guest_environment(found, own)
        worker = Worker("counting", interpreter=str(found.python), prefix=prefix, env=env, start_s=START_S)
        stack.callback(worker.close)
        files = {}
        for name, data in members.items():
            files[name] = folder / name
            files[name].write_bytes(data)
        try:
            session = worker.open(engine, files, signature, variant, 1, None)
            told, _ = session.drive("neoc.targets.instructions:marked", [feeds], {"repeats": REPEATS})
        except NeocError as error:
            version = guest.qemu_version(Path(qemu))
            raise _unavailable(f"qemu {version} cannot run {engine}: {error.why or error.what}") from error
        worker.close()
        before, after = _tables(folder / "out")[:2]
    return _attributed(before, after, told["maps"], cpu)


def _attributed(before: Mapping[int, int], after: Mapping[int, int], maps: str, cpu: str) -> Instructions:
    by: dict[str, int] = {}
    places = _places(maps)
    for page, number in after.items():
        grown = number - before.get(page, 0)
        if not grown:
            continue
        file = next((file for first, last, file in places if first <= page < last), "")
        named = _COUNTED.search(file)
        by_name = named[1] if named else "the interpreter around it"
        by[by_name] = by.get(by_name, 0) + grown
    shares = {name: number // REPEATS for name, number in sorted(by.items(), key=lambda item: -item[1])}
    return Instructions(sum(n for name, n in shares.items() if "interpreter" not in name), cpu, shares)


def _places(maps: str) -> list[tuple[int, int, str]]:
    """(first page, page behind the last, file) of each mapping in the text of /proc/self/maps."""
    found = []
    for line in maps.splitlines():
        span, _, _, _, _, *rest = line.split(None, 5)
        first, last = (int(part, 16) >> 12 for part in span.split("-"))
        found.append((first, last, rest[0].strip() if rest else ""))
    return found


def marked(
    call: Callable[[Feeds], object], feeds: Sequence[Feeds], options: Mapping[str, Any], session: Session
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Driver inside the emulated worker: one call to warm up, then `repeats` between two marks."""
    (sample,) = feeds
    syscall = ctypes.CDLL(None).syscall
    call(sample)
    syscall(MARK)
    for _ in range(options["repeats"]):
        call(sample)
    syscall(MARK)
    return {"maps": Path("/proc/self/maps").read_text(), "pid": os.getpid()}, {}
