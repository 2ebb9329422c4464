"""CompilerOptions: one JSON text whose keys change with the target (Neo's guide, OutputConfig in the API reference).

PyTorch      dtype                      float32 | float | int64 | long: of the inputs
CPU          mcpu, mattr                as LLVM takes them; they choose the target of a TargetPlatform
NVIDIA       gpu-code, trt-ver, cuda-ver
Neuron       "--verbose 1 -O2"          a text in place of an object: words of the compiler's command line
"""

from __future__ import annotations

import ast
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from neoc.compile import registry
from neoc.compile.contracts import Target
from neoc.compile.errors import UsageError

Options = Mapping[str, Any] | str
_DTYPES = {"float": "float32", "float32": "float32", "long": "int64", "int64": "int64"}
_NVIDIA = {"gpu-code", "gpu_code", "trt-ver", "cuda-ver"}
_FLAGS = {
    "--model-type": "neuron.model-type",
    "--optlevel": "neuron.optlevel",
    "--auto-cast-type": "neuron.auto-cast-type",
    "--logical-nc-config": "neuron.lnc",
}
"""neuronx-cc's flag -> neoc's option"""
_ELSEWHERE = {
    "ANDROID_PLATFORM": "Android is not served",
    "class_labels": "it is for Core ML, which is not served",
    "precision_mode": "it is for Elastic Inference, which was shut down",
    "signature_def_key": "it is for Elastic Inference; name the signature with --option signature=NAME",
    "output_names": "it is for Elastic Inference, which was shut down",
}


@dataclass(frozen=True)
class Chosen:
    """What options mean to `neoc compile`. `dtype`: of the inputs; '' for the model's own."""

    dtype: str = ""
    pairs: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


def parse_options(text: object, where: str) -> Options:
    """The options as an object, or as the one text that Neuron's are. Raises UsageError."""
    if text is None:
        return {}
    found: Any = text
    if isinstance(text, str):
        for read in (json.loads, ast.literal_eval):
            try:
                found = read(text)
                break
            except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
                continue
        else:
            if not text.startswith("-"):  # a shell ate the quotes around Neuron's words
                raise refused(where, f"{text!r:.80} is neither JSON nor a dict literal", "write a JSON object")
    if isinstance(found, str) or (isinstance(found, dict) and all(isinstance(key, str) for key in found)):
        return found
    raise refused(where, f"it is {type(found).__name__}", "write a JSON object")


def options_of(options: Options, target: str, where: str) -> Chosen:
    """What options mean for a target that is known. Raises UsageError for a key that it does not have."""
    resolved = _resolved(target)
    if resolved is None:  # an unknown or retired device: its own error is the better one
        return Chosen()
    if isinstance(options, str):
        return _neuron(options, resolved, where)
    notes: list[str] = []
    for key in options:
        if key in _ELSEWHERE:
            raise refused(where, f"{key}: {_ELSEWHERE[key]}", "leave it out")
        if key == "dtype":
            continue
        if key in ("mcpu", "mattr") and resolved.arch in ("x86_64", "aarch64", "armv7"):
            continue
        if key in _NVIDIA and resolved.arch == "nvidia":
            continue
        raise refused(where, f"{resolved.name} has no {key!r}", f"it has: {', '.join(_keys_of(resolved))}")
    if resolved.arch == "nvidia":
        notes += _nvidia(options, resolved, where)
    elif "mcpu" in options or "mattr" in options:
        _check_cpu(options, resolved, where)
    return Chosen(_dtype(options.get("dtype"), where), (), tuple(notes))


def _resolved(name: str) -> Target | None:
    from neoc.targets import get_target

    try:
        return get_target(name)
    except UsageError:
        return None


def _keys_of(target: Target) -> list[str]:
    own = {"nvidia": ["gpu-code", "trt-ver", "cuda-ver"], "neuron": []}.get(target.arch, ["mcpu", "mattr"])
    return ["dtype", *own]


def _dtype(given: object, where: str) -> str:
    if given is None:
        return ""
    found = _DTYPES.get(str(given).lower())
    if found is None:
        raise refused(where, f"dtype {given!r} is none of Neo's", f"one of: {', '.join(_DTYPES)}")
    return found


def _nvidia(options: Mapping[str, Any], target: Target, where: str) -> list[str]:
    code = options.get("gpu-code", options.get("gpu_code"))
    if code is not None and code != target.level:
        raise refused(where, f"gpu-code {code} is not {target.name}'s, which is {target.level}", "leave it out")
    notes = []
    if "trt-ver" in options:
        notes.append(f"trt-ver {options['trt-ver']}: not heeded; the manifest names the engine and its tools")
    if "cuda-ver" in options:
        notes.append(f"cuda-ver {options['cuda-ver']}: the artifact names the CUDA release that its kernels need")
    return notes


def mattr_of(options: Mapping[str, Any], where: str) -> tuple[str, ...]:
    """Features that `mattr` asks for, without their plus. Raises UsageError for one that is switched off."""
    given = options.get("mattr", [])
    words = given.split(",") if isinstance(given, str) else given
    if not isinstance(words, list) or not all(isinstance(word, str) and word.strip() for word in words):
        raise refused(where, f"mattr {given!r} is no list of features", 'write ["+neon"]')
    if off := [word for word in words if word.strip().startswith("-")]:
        raise refused(where, f"mattr {off[0]} takes a feature away", "name a lesser target instead")
    return tuple(word.strip().lstrip("+") for word in words)


def _check_cpu(options: Mapping[str, Any], target: Target, where: str) -> None:
    """A target was named: mcpu and mattr may say again what it has, and nothing beyond it."""
    from neoc.targets.host import normalise
    from neoc.targets.job_target import level_of_mcpu

    mcpu = options.get("mcpu")
    if mcpu is not None and mcpu not in (target.fact("mcpu"), "generic"):
        wanted = level_of_mcpu(str(mcpu)) if target.arch == "x86_64" else None
        if wanted is None or not set(registry.load_target(wanted).features) <= set(target.features):
            raise refused(
                where, f"mcpu {mcpu} is not {target.name}'s, which is {target.fact('mcpu')}", "name that target instead"
            )
    promised = {normalise(feature) for feature in target.features} | {"vfp4" if "vfpv4" in target.features else ""}
    for feature in mattr_of(options, where):
        if normalise(feature) not in promised:
            raise refused(where, f"mattr +{feature} is beyond {target.name}", "name a target that promises it")


def _neuron(text: str, target: Target, where: str) -> Chosen:
    if target.arch != "neuron":
        raise refused(where, f"a command line is Neuron's dialect, and {target.name} takes an object", "write {}")
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise refused(where, f"{text!r}: {error}", "close the quote") from error
    pairs: list[tuple[str, str]] = []
    notes: list[str] = []
    while words:
        word, _, value = words.pop(0).partition("=")
        if word in ("-O1", "-O2", "-O3"):
            pairs.append(("neuron.optlevel", word[2:]))
            continue
        if not value and words and not words[0].startswith("-"):
            value = words.pop(0)
        if word in _FLAGS:
            pairs.append((_FLAGS[word], value))
        elif word == "--verbose":
            notes.append("--verbose: neoc shows what the compiler says where it fails")
        else:
            raise refused(where, f"{word} is no flag that neoc gives on", f"known are: -O1 to -O3, {', '.join(_FLAGS)}")
    return Chosen("", tuple(pairs), tuple(notes))


def refused(where: str, why: str, fix: str) -> UsageError:
    """The error for options that cannot be used."""
    return UsageError("CompilerOptions cannot be used", where=where, why=why, fix=fix)
