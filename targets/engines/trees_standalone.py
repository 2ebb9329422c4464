"""`--option form=shared`: a tree model for devices without Python, as a C header, an object file and a shared object.

The members standalone/model.h, .o and .so of the artifact; `neoc compile` writes them beside the artifact as well. The
shared object is linked where a linker for the target is at hand; the object file needs none and links into any program.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from neoc.compile.contracts import EngineOptions, Target
from neoc.compile.errors import MissingTool, UnsupportedModel, UsageError
from neoc.kernels.trees.layout import Layout
from neoc.targets.elf import read_elf
from neoc.targets.linkers import linker_for

if TYPE_CHECKING:
    from neoc.compile.program import Program
    from neoc.kernels.trees.isa import Isa
    from neoc.kernels.trees.standalone import Export
    from neoc.targets.engines.trees_finish import Lowered
    from neoc.targets.engines.trees_program import Parts

FORM, PREFIX = "form", "prefix"
OPTIONS = {
    FORM: "shared: also a C header and a shared object, for devices without Python",
    PREFIX: "with form=shared, what the C functions' names begin with: neoc (neoc_predict)",
}
FOLDER, STEM = "standalone", "model"
NO_LINKER = "none"
_TRIPLES = {"x86_64": "x86_64-linux-gnu", "aarch64": "aarch64-linux-gnu", "armv7": "arm-linux-gnueabihf"}


def asked(options: EngineOptions, target: Target) -> dict[str, str]:
    """What the options ask for, as options of a variant; the linker is one, so that the cache tells builds apart.

    Raises UsageError.
    """
    pairs = dict(options.pairs)
    if FORM not in pairs:
        if PREFIX in pairs:
            raise UsageError("the option prefix is of no use alone", fix="add --option form=shared")
        return {}
    if pairs[FORM] != "shared":
        raise UsageError(
            f"there is no form {pairs[FORM]!r}", where="--option form=...", fix="the one form is --option form=shared"
        )
    prefix = pairs.get(PREFIX, "neoc")
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,40}", prefix):
        raise UsageError(
            f"{prefix!r} cannot begin the name of a C function",
            where="--option prefix=...",
            fix="a letter, then letters, digits and underscores, 41 at most",
        )
    linker = linker_for(triple_of(target))
    return {FORM: "shared", PREFIX: prefix, "linker": NO_LINKER if linker is None else linker.name}


def triple_of(target: Target) -> str:
    """What the linkers of the target go by."""
    return str(target.fact("triple", _TRIPLES[target.arch]))


def exports_of(names: Sequence[str], texts: Sequence[tuple[str, ...]], prefix: str) -> list[Export]:
    """A function for each output: PREFIX_predict for `prediction` (else for the first), PREFIX_<output> for others."""
    from neoc.kernels.trees.standalone import Export

    first = "prediction" if "prediction" in names else names[0]
    made = []
    for name, words in zip(names, texts, strict=True):
        plain = "predict" if name == first else re.sub(r"\W", "_", name, flags=re.ASCII)
        made.append(Export(f"{prefix}_{plain}", name, words))
    if len({export.name for export in made}) < len(made):
        raise UnsupportedModel(
            "two outputs of the model would be one C function",
            why=", ".join(f"{export.output!r} -> {export.name}" for export in made),
            fix="give the outputs names that differ in letters and digits",
        )
    return made


@dataclass(frozen=True)
class Compiled:
    """A model as far as the engine has it."""

    parts: Parts
    lowered: Lowered
    layout: Layout
    isa: Isa


def build(
    program: Program, target: Target, made: Compiled, prefix: str, folder: Path
) -> tuple[dict[str, Path], dict[str, str], str]:
    """(member -> file, tool -> version, a note for the user). Raises UnsupportedModel, MissingTool."""
    from neoc.kernels.trees.standalone import About, header, object_file

    names = [spec.name for spec in program.signature.outputs]
    e, lowered = made.parts.ensemble, made.lowered
    if made.parts.before:
        operators = sorted({step["operator"] for step in made.parts.before})
        raise UnsupportedModel(
            "the model changes its features before the trees, which the C form does not",
            why=f"it has {', '.join(operators)} there",
            fix="leave --option form=shared out, or give the trees alone",
        )
    if lowered.whole is None:
        operators = sorted({step["operator"] for step in lowered.left})
        raise UnsupportedModel(
            "what follows the trees cannot be compiled for C",
            why=f"there is no rule for {', '.join(operators)} here",
            fix="leave --option form=shared out",
        )
    exports = exports_of(names, lowered.texts, prefix)
    (folder / FOLDER).mkdir()
    files = {f"{FOLDER}/{STEM}.{ending}": folder / FOLDER / f"{STEM}.{ending}" for ending in ("h", "o", "so")}
    head, object_, library = files.values()
    about = About(Path(program.provenance.name).name, target.name, version("neoc"), len(e.roots), _features(program))
    head.write_text(header(about, e, lowered.whole, exports, prefix), encoding="utf-8")
    object_.write_bytes(object_file(made.layout, e, lowered.whole, exports, made.isa))
    linker = linker_for(triple_of(target))
    functions = ", ".join(export.name for export in exports)
    if linker is None:
        del files[f"{FOLDER}/{STEM}.so"]
        triple = triple_of(target)
        return (
            files,
            {},
            (
                f"C functions {functions}: header and object file, no shared object, for no linker for {triple} is "
                f"installed; link the object into the program, or run {triple}-gcc -shared -o {STEM}.so {STEM}.o, or "
                f"pip install ziglang and compile again"
            ),
        )
    linker.shared(library, [object_])
    _accept(library.read_bytes(), target.arch, [export.name for export in exports])
    note = f"C functions {functions}: header, object file and shared object, linked by {linker.name}"
    return files, linker.tools(), note


def _accept(library: bytes, arch: str, functions: Sequence[str]) -> None:
    """Check what the linker made. Raises MissingTool: another linker is what helps."""
    elf = read_elf(library)
    wrong = ""
    if elf.machine != arch or not elf.shared:
        wrong = f"it is no shared object for {arch}"
    elif missing := sorted(set(functions) - elf.exports):
        wrong = f"it does not export {', '.join(missing)}"
    elif strangers := sorted(elf.undefined - {"malloc", "free"}):
        wrong = f"it needs {', '.join(strangers[:5])}"
    if wrong:
        raise MissingTool(
            "the linker made no usable shared object", why=wrong, fix="pip install ziglang, compile again"
        )


def _features(program: Program) -> tuple[str, ...]:
    """The features' names, where the model file has them."""
    text = program.model.metadata_props.get("neoc.feature_names", "")
    try:
        found = json.loads(text) if text else []
    except ValueError:
        return ()
    return tuple(map(str, found)) if isinstance(found, list) else ()
