"""AWS's compiler, neuronx-cc, as a program: finding it, calling it, telling what it said.

On the public package index, neuronx-cc and its relatives are placeholders of version 1.0 that install without error
and hold nothing: only the program itself counts as found.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from neoc.compile.contracts import Gap, Scalar, Target, Variant
from neoc.compile.errors import MissingTool, UnsupportedModel, UsageError, WorkerCrashed, WorkerOutOfMemory
from neoc.targets import standins

PROGRAM = "neuronx-cc"
PLACEHOLDER = "1.0"
"""version of the public placeholder packages; the real ones have been above 2 since 2023"""

_INSTALL = "install it from AWS's own package repository (Neuron documentation, Setup Guide)"
_CODE = re.compile(r"NCC_([A-Z]+\d+)")
_PROBE_SECONDS = 120


@dataclass(frozen=True)
class Compiler:
    path: str
    version: str
    prefix: tuple[str, ...] = ()
    """words before the path"""
    standin: bool = False


def find_compiler() -> Compiler | None:
    """The compiler, if one is on PATH and answers; else its stand-in, where stand-ins are allowed."""
    found = _on_path()
    standin = standins.find(PROGRAM) if found is None else None
    if standin is None:
        return found
    *prefix, path = standin.command
    return Compiler(path, standin.version, tuple(prefix), standin=True)


@cache
def _on_path() -> Compiler | None:
    path = shutil.which(PROGRAM)
    if path is None:
        return None
    try:
        done = subprocess.run(
            [path, "--help"], stdin=subprocess.DEVNULL, capture_output=True, timeout=_PROBE_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return Compiler(path, _installed() or "unknown") if done.returncode == 0 else None


@cache
def listed_operators() -> tuple[str, frozenset[str]] | None:
    """(version of the compiler, the HLO operators that `neuronx-cc list-operators` names).

    None without a compiler, and where it prints something else: a list that lacks what every program needs.
    """
    compiler = find_compiler()
    if compiler is None or compiler.standin:
        return None
    try:
        done = subprocess.run(
            [compiler.path, "list-operators", "--framework", "XLA"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PROBE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    names = frozenset(_opcode(line.split()[0]) for line in done.stdout.splitlines() if line.split())
    if done.returncode or not {"add", "dot", "multiply"} <= names:
        return None
    return compiler.version, names


def _opcode(word: str) -> str:
    """An operator's name as HLO text spells it: 'dynamic-slice', from that, from dynamic_slice or kDynamicSlice."""
    word = word.strip(" ,;:*-").removeprefix("xla::").removeprefix("HloOpcode::")
    if re.fullmatch(r"k?[A-Z]\w*", word):
        word = re.sub(r"(?<!^)(?=[A-Z])", "-", word.removeprefix("k"))
    return word.replace("_", "-").lower()


def why_none() -> str:
    """Why no compiler was found, and what to do about it."""
    if _is_placeholder(_installed()):
        return f"the installed package {PROGRAM} {_installed()} is an empty placeholder; {_INSTALL}"
    if shutil.which(PROGRAM):
        return f"{PROGRAM} is on PATH but does not answer to --help; {_INSTALL}"
    return f"{PROGRAM} is not on PATH; {_INSTALL}"


def _installed() -> str | None:
    try:
        return version(PROGRAM)
    except PackageNotFoundError:
        return None


def _is_placeholder(found: str | None) -> bool:
    return found is not None and (found == PLACEHOLDER or found.startswith(f"{PLACEHOLDER}."))


@dataclass(frozen=True)
class _Option:
    """--option neuron.NAME=VALUE: the values that the compiler documents, and the only targets that have it."""

    values: tuple[str, ...]
    targets: tuple[str, ...] = ("inf2", "trn1", "trn2")


OPTIONS = {
    "neuron.model-type": _Option(("generic", "transformer", "unet-inference")),
    "neuron.optlevel": _Option(("1", "2", "3")),
    "neuron.auto-cast-type": _Option(("bf16", "fp16", "tf32", "fp8_e4m3")),
    "neuron.lnc": _Option(("1", "2"), ("trn2",)),
}


def chosen_options(pairs: Sequence[tuple[str, str]], target: Target) -> dict[str, Scalar]:
    """The compiler's among the --option pairs, by the variant's names. Raises UsageError for what it does not know."""
    chosen: dict[str, Scalar] = {}
    for key, value in pairs:
        if not key.startswith("neuron."):
            continue
        option = OPTIONS.get(key)
        if option is None:
            raise UsageError(f"--option {key} is not known", fix=f"one of: {', '.join(OPTIONS)}")
        if value not in option.values:
            raise UsageError(f"--option {key}={value} is not known", fix=f"one of: {', '.join(option.values)}")
        if target.name not in option.targets:
            raise UsageError(
                f"{target.name} has no --option {key}",
                why="the compiler would end with NCC_EARG001",
                fix=f"leave it out; it is for {', '.join(option.targets)}",
            )
        chosen[key.removeprefix("neuron.").replace("-", "_")] = value
    return chosen


def flags(target: str, variant: Variant) -> list[str]:
    """All that decides what is made of a module. --auto-cast is always given: its default changed between releases."""
    cast = str(variant.get("auto_cast", "none"))
    words = ["--framework", "XLA", "--target", target]
    words += ["--model-type", str(variant.get("model_type", "generic"))]
    words += ["--optlevel", str(variant.get("optlevel", "2"))]
    words += ["--auto-cast", cast]
    if cast != "none":
        words += ["--auto-cast-type", str(variant.get("auto_cast_type", "bf16"))]
    if lnc := variant.get("lnc"):
        words += ["--logical-nc-config", str(lnc)]
    return words


def command(compiler: Compiler, module: Path, target: str, variant: Variant, output: Path) -> list[str]:
    """The command line."""
    files = ["--output", str(output), "--logfile", str(output.with_suffix(".log"))]
    return [*compiler.prefix, compiler.path, "compile", str(module), *flags(target, variant), *files]


def compile_module(compiler: Compiler, module: Path, target: str, variant: Variant, output: Path) -> None:
    """Compile an HLO module to a NEFF at `output`.

    Raises UnsupportedModel with what the compiler refused, WorkerOutOfMemory, WorkerCrashed.
    """
    words = command(compiler, module, target, variant, output)
    done = subprocess.run(
        words,
        cwd=output.parent,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    said = (done.stderr + done.stdout).strip()
    tail = " ".join(said.split()[-60:])
    if done.returncode in (-9, 137):
        raise WorkerOutOfMemory(
            f"{PROGRAM} was killed",
            why="most likely for want of memory",
            fix="compile on a machine with more of it, or lower the optimisation: --option neuron.optlevel=1",
        )
    if done.returncode:
        if gaps := _refused(said):
            raise UnsupportedModel(f"{PROGRAM} refuses the model", why=tail, gaps=gaps, fix="see the gaps")
        raise WorkerCrashed(f"{PROGRAM} failed with status {done.returncode}", where=" ".join(words), why=tail)
    if not output.is_file() or not output.stat().st_size:
        raise WorkerCrashed(
            f"{PROGRAM} reported success and wrote no NEFF",
            where=" ".join(words),
            why=tail,
            fix="run the command by hand",
        )


def seal(output: Path) -> bool:
    """Whether a stand-in made the file, however it was found: then no name may take it for a program.

    Raises MissingTool where stand-ins are not allowed.
    """
    with output.open("rb") as file:
        marked = standins.is_marked(file.read(4096))
    if marked and not standins.allowed():
        output.unlink()
        raise MissingTool(
            f"the {PROGRAM} on PATH is a stand-in",
            why="it exists to test neoc and compiles nothing",
            fix=_INSTALL,
        )
    return marked


def _refused(said: str) -> tuple[Gap, ...]:
    """One gap for each line that carries a code of the compiler's error catalogue."""
    lines = dict.fromkeys(line.strip() for line in said.splitlines() if _CODE.search(line))
    return tuple(Gap("neuron", "", "", line, code=_CODE.findall(line)[0]) for line in lines)
