"""Pre- and post-processing as the user declares it, bound to a model's inputs and outputs.

    preprocess:
      - image: {size: [224, 224], resize: pillow-bilinear, shorter_side: 256, input: x}
    postprocess:
      - softmax: {input: logits}
      - top_k: {k: 5}

Two options belong to the wiring and not to the kernel: `input` (the graph inputs that a step feeds, or the outputs that
an answer reads) and `output` (the name of an answer). Where there is one obvious place they may be left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from neoc.compile.contracts import Signature, TensorSpec
from neoc.compile.errors import UsageError
from neoc.compile.program import ProcessStep, Program
from neoc.kernels import answers, steps
from neoc.kernels.errors import KernelOptionError

SECTIONS = ("preprocess", "postprocess")
Declared = Sequence[Any]
"""of each step: {name: options}, a kernel object, {name: kernel object, "input": ...}, or a ProcessStep"""


# ---- reading ---------------------------------------------------------------------------------


def read_sections(path: Path) -> dict[str, list[Any]]:
    """The sections in a YAML or JSON file, other keys left alone. Raises UsageError."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            "the processing file cannot be read", where=str(path), why=str(error), fix="give a YAML or JSON file"
        ) from error
    return sections(_parsed(text, path), str(path))


def _parsed(text: str, path: Path) -> Any:
    try:
        return json.loads(text) if path.suffix == ".json" else _yaml(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(
            "the processing file cannot be parsed", where=str(path), why=" ".join(str(error).split()), fix=_EXAMPLE
        ) from error


def _yaml(text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def sections(data: Any, where: str, strict: bool = True) -> dict[str, list[Any]]:
    """preprocess and postprocess of a parsed file. `strict`: nothing else may be in it. Raises UsageError."""
    if not isinstance(data, Mapping) or (strict and not set(data) <= set(SECTIONS)):
        odd = sorted(map(str, set(data) - set(SECTIONS))) if isinstance(data, Mapping) else [type(data).__name__]
        raise UsageError("the processing file holds something else", where=where, why=", ".join(odd), fix=_EXAMPLE)
    found = {name: data.get(name) or [] for name in SECTIONS}
    for name, steps_of in found.items():
        if not isinstance(steps_of, list):
            raise UsageError(f"{name} is no list of steps", where=where, why=f"{steps_of!r:.80}", fix=_EXAMPLE)
    return found


_EXAMPLE = (
    "write preprocess and postprocess as lists of steps: preprocess: [{image: {size: [224, 224], input: x}}], "
    "postprocess: [{top_k: {k: 5}}]"
)


# ---- binding ---------------------------------------------------------------------------------


def attach(program: Program, preprocess: Declared, postprocess: Declared) -> Program:
    """The program with its steps, bound to its signature, every default written out.

    Raises UsageError for an unknown step or option, for a place that the model does not have or that is not clear, and
    for a step whose tensor the model does not take.
    """
    if not preprocess and not postprocess:
        return program
    return replace(
        program,
        pre=bind_pre(preprocess, program.signature),
        post=bind_post(postprocess, program.signature),
    )


def bind_pre(declared: Declared, signature: Signature) -> tuple[ProcessStep, ...]:
    made: list[ProcessStep] = []
    specs = {spec.name: spec for spec in signature.inputs}
    fed: dict[str, tuple[str, str]] = {}  # input -> (dtype so far, the step that says so)
    for place, entry in enumerate(declared):
        where = f"preprocess, step {place}"
        name, options, wiring = _entry(entry, steps.step_of, where)
        step = _made(steps.make, name, options, where)
        names = _names(wiring.get("input"), where)
        if "output" in wiring:
            raise UsageError("a step of preprocess has no output", where=where, fix="name the graph input as `input`")
        rewrites = step.item == "tensor"
        names = names or _obvious_inputs(signature, fed, len(step.gives()), rewrites, where, name)
        for given in names:
            if given not in specs or (given in fed) != rewrites:
                why = "no step before it feeds that" if rewrites else "a step before it feeds that already"
                raise UsageError(
                    f"step {name} cannot feed {given!r}",
                    where=where,
                    why=why if given in specs else "the model has no such input",
                    fix=f"the inputs are {', '.join(map(str, signature.inputs))}",
                )
        if len(names) != len(step.gives()):
            raise UsageError(
                f"step {name} makes {len(step.gives())} tensors and names {len(names)} inputs",
                where=where,
                fix="name as many; collate with mask: false makes one",
            )
        if rewrites and fed[names[0]][0] != _source(step):
            raise UsageError(
                f"step {name} cannot read what {fed[names[0]][1]} makes",
                where=where,
                why=f"that is {fed[names[0]][0]}, and it takes {step.takes()}",
                fix="set the dtype of the step before it",
            )
        for given, (dtype, shape) in zip(names, step.gives(), strict=True):
            fed[given] = (dtype, name)
            if not rewrites:
                _check_shape(specs[given], shape, name, where)
        made.append(_stored(name, step.to_spec() | {"input": list(names)}, where))
    for given, (dtype, name) in fed.items():
        if dtype != specs[given].dtype:
            raise UsageError(
                f"step {name} does not give what the model takes",
                where=f"preprocess, input {given!r}",
                why=f"it gives {dtype}, and the model takes {specs[given]}",
                fix=f"set its dtype to {specs[given].dtype}, or end with a quantize or dequantize step",
            )
    return tuple(made)


def _source(step: steps.PreStep) -> str:
    return "float32" if step.name == "quantize" else str(step.to_spec()["dtype"])


def _check_shape(spec: TensorSpec, shape: tuple[int | None, ...], name: str, where: str) -> None:
    """Whether an axis of items and `shape` fit the graph input. Raises UsageError."""
    if spec.shape is None:
        return
    wanted = spec.shape[1:]
    fits = len(spec.shape) == len(shape) + 1 and all(
        made == want or not isinstance(want, int) for made, want in zip(shape, wanted, strict=True)
    )
    if not fits:
        made = ", ".join("?" if d is None else str(d) for d in shape)
        raise UsageError(
            f"step {name} does not give what the model takes",
            where=where,
            why=f"it gives [n, {made}], and the model takes {spec}",
            fix="change size, layout or length; collate with `length` pads to exactly that",
        )


def _obvious_inputs(
    signature: Signature, fed: Mapping[str, Any], count: int, rewrites: bool, where: str, name: str
) -> list[str]:
    free = [spec.name for spec in signature.inputs if (spec.name in fed) == rewrites]
    masks = [n for n in free if "mask" in n]
    if count == 2 and len(masks) == 1:
        rest = [n for n in free if n not in masks and (len(free) == 2 or n == "input_ids")]
        if len(rest) == 1:
            return [rest[0], masks[0]]
    if len(free) == count == 1:
        return free
    raise UsageError(
        f"it is not clear which inputs step {name} feeds",
        where=where,
        why=f"it makes {count} tensors, and open are {', '.join(free) or 'none'}",
        fix=f"say so: {name}: {{..., input: [{', '.join(free[:count]) or 'NAME'}]}}",
    )


def bind_post(declared: Declared, signature: Signature) -> tuple[ProcessStep, ...]:
    made: list[ProcessStep] = []
    dtypes = {spec.name: spec.dtype for spec in signature.outputs}
    arrays = {spec.name: True for spec in signature.outputs}
    last: str | None = next(iter(arrays)) if len(arrays) == 1 else None
    for place, entry in enumerate(declared):
        where = f"postprocess, step {place}"
        name, options, wiring = _entry(entry, answers.step_of, where)
        step = _made(answers.make, name, options, where)
        names = _names(wiring.get("input"), where) or ([last] if last is not None and step.reads[0] == 1 else [])
        if not step.reads[0] <= len(names) <= step.reads[1]:
            raise UsageError(
                f"it is not clear what step {name} reads",
                where=where,
                why=f"it reads {step.reads[0]} to {step.reads[1]} arrays, and {len(names)} are named",
                fix=f"say so with `input`; there are {', '.join(arrays)}",
            )
        for given in names:
            if not arrays.get(given):
                why = "that is no array but a list of answers" if given in arrays else "there is no such output"
                raise UsageError(
                    f"step {name} cannot read {given!r}",
                    where=where,
                    why=why,
                    fix=f"there are {', '.join(n for n, array in arrays.items() if array)}",
                )
        wanted = step.source if step.source != "integer" else str(step.to_spec()["dtype"])
        found = dtypes.get(names[0], "float32")
        if found not in (wanted, "undefined"):
            raise UsageError(
                f"step {name} cannot read {names[0]!r}",
                where=where,
                why=f"it takes {wanted}, and that is {found}",
                fix="put a dequantize step before it" if found.startswith(("int", "uint")) else "",
            )
        output = wiring.get("output", name if name not in arrays else f"{name}_{place}")
        if not isinstance(output, str) or not output or output in arrays:
            raise UsageError("an answer needs a name of its own", where=where, why=f"{output!r}", fix="set `output`")
        arrays[output], dtypes[output] = step.array, step.gives() if name.endswith("quantize") else "float32"
        last = output if step.array else None
        made.append(_stored(name, step.to_spec() | {"input": names, "output": output}, where))
    return tuple(made)


def _entry(entry: Any, step_of: Any, where: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """(name, the kernel's options, wiring) of one declared step."""
    wiring: dict[str, Any] = {}
    if isinstance(entry, ProcessStep):
        entry = {entry.name: entry.as_dict()["options"]}
    if isinstance(entry, Mapping):
        names = [key for key in entry if key not in ("input", "output")]
        wiring = {key: entry[key] for key in ("input", "output") if key in entry}
        if len(names) != 1 or not isinstance(names[0], str):
            raise UsageError("a step is one name with its options", where=where, why=f"{entry!r:.120}", fix=_EXAMPLE)
        name, inner = names[0], entry[names[0]]
        inner = {} if inner is None else inner
        if isinstance(inner, Mapping):
            options = dict(inner)
            wiring |= {key: options.pop(key) for key in ("input", "output") if key in options}
            return name, options, wiring
        entry = inner
    found = step_of(entry)
    if found is None:
        raise UsageError(
            "this is no step that the kernels have",
            where=where,
            why=f"{entry!r:.120}",
            fix="give {name: options}, or a kernel object of neoc.kernels; other code stays outside the artifact",
        )
    return found[0], found[1], wiring


def _made(make: Any, name: str, options: Mapping[str, Any], where: str) -> Any:
    try:
        return make(name, options)
    except KernelOptionError as error:
        place = f"{where}, {error.where}" if error.where else where
        raise UsageError(error.what, where=place, why=error.why, fix=error.fix) from error


def _names(given: Any, where: str) -> list[str]:
    names = [given] if isinstance(given, str) else list(given) if isinstance(given, (list, tuple)) else given
    if names is None:
        return []
    if not isinstance(names, list) or not all(isinstance(n, str) for n in names) or len(set(names)) < len(names):
        raise UsageError("`input` is a name or a list of different names", where=where, why=f"{given!r:.80}")
    return names


def _stored(name: str, options: Mapping[str, Any], where: str) -> ProcessStep:
    try:
        json.dumps(options, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"step {name} has options that JSON cannot say", where=where, why=str(error), fix="give finite numbers"
        ) from error
    return ProcessStep.from_dict({"name": name, "options": dict(options)})
