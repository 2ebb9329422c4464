"""Static variants: the sizes that most requests have, compiled beside a model whose sizes stay open.

A request of exactly these sizes runs in the variant that was made for them; every other one in the open program.
Nothing is padded, so nothing is to prove about padding: each variant is built, checked and raced like its own model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from neoc.compile import inputs
from neoc.compile.answers import Sample
from neoc.compile.bucketed import Bucket, Lower, decision_of
from neoc.compile.buckets import label
from neoc.compile.build import Workshop
from neoc.compile.contracts import Dim, Signature, TensorSpec
from neoc.compile.errors import UsageError
from neoc.compile.options import OF_DATA, InputBinding
from neoc.compile.padding import FUNCTIONS, evaluate
from neoc.compile.program import Program

MOST = 16
"""static variants of one artifact: all of them are open at once"""


def prepare(shop: Workshop, program: Program, lower: Lower) -> tuple[Bucket, ...]:
    """What is to be compiled for each of `options.static`. Raises UsageError, InvalidInput."""
    options, where = shop.options, program.provenance.name
    if not options.static:
        return ()
    if options.bucketing is not None or options.optimize != "latency":
        why = "buckets are static already" if options.bucketing is not None else "they serve steady requests"
        raise UsageError("static variants cannot be made here", where=where, why=why, fix="leave --static out")
    dims = open_dims(program.signature)
    if not dims:
        raise UsageError("--static has nothing to bind", where=where, why="every size of the model is fixed already")
    given = [] if options.data is None else inputs.load_data(options.data, program.signature)
    binds = [_bind(wanted, dims, program.signature, given, where) for wanted in options.static]
    unique = [bind for i, bind in enumerate(binds) if bind not in binds[:i]]
    if len(unique) > MOST:
        raise UsageError("there are too many static variants", where=where, why=f"{MOST} is the most", fix="name fewer")
    return tuple(_variant(shop, program, bind, given, lower) for bind in unique)


def open_dims(signature: Signature) -> list[str]:
    """What must be known to fix every size of the inputs: dimensions by name, INPUT[AXIS] where they have none.

    A size that is reckoned from others ('2*seq') needs no answer of its own.
    """
    found: list[str] = []
    for spec in signature.inputs:
        for axis, dim in enumerate(spec.shape or ()):
            if not isinstance(dim, int):
                found.append(_name(spec, axis, dim))
    names = list(dict.fromkeys(found))
    return [n for n in names if not (_parts(n) - {n} and _parts(n) <= set(names) - {n})]


def _name(spec: TensorSpec, axis: int, dim: Dim) -> str:
    return f"{spec.name}[{axis}]" if dim is None else str(dim)


def _parts(text: str) -> set[str]:
    """The names in an expression of sizes; of INPUT[AXIS] and of a plain name, the whole."""
    return {text} if text.endswith("]") else set(re.findall(r"[A-Za-z_][\w.]*", text)) - FUNCTIONS.keys()


def _bind(
    wanted: Mapping[str, int], dims: Sequence[str], signature: Signature, given: Sequence[Sample], where: str
) -> dict[str, int]:
    if wanted == OF_DATA:
        if not given:
            raise UsageError("--static data needs data", where=where, fix="add --data FILE.npz, or name the sizes")
        return _sizes(signature, given[0], dims)
    strangers, missing = [n for n in wanted if n not in dims], [n for n in dims if n not in wanted]
    if strangers or missing:
        why = [f"it has no open {', '.join(strangers)}"] * bool(strangers)
        why += [f"{', '.join(missing)} would stay open"] * bool(missing)
        form = ",".join(f"{n}=SIZE" for n in dims)
        raise UsageError("--static does not fit the model", where=where, why="; ".join(why), fix=f"--static {form}")
    return {n: wanted[n] for n in dims}


def _sizes(signature: Signature, feeds: Sample, dims: Sequence[str]) -> dict[str, int]:
    found = {
        _name(spec, axis, dim): int(feeds[spec.name].shape[axis])
        for spec in signature.inputs
        for axis, dim in enumerate(spec.shape or ())
    }
    return {name: found[name] for name in dims}


def shapes(signature: Signature, bind: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    """Every input's shape at these sizes. Raises ValueError for a size that cannot be reckoned from them."""
    return {
        spec.name: tuple(
            dim if isinstance(dim, int) else evaluate(_name(spec, axis, dim), bind)
            for axis, dim in enumerate(spec.shape)
        )
        for spec in signature.inputs
        if spec.shape is not None
    }


def _variant(
    shop: Workshop, program: Program, bind: Mapping[str, int], given: Sequence[Sample], lower: Lower
) -> Bucket:
    options, name = shop.options, label(bind)
    try:
        fixed = shapes(program.signature, bind)
    except ValueError as error:
        raise UsageError("--static does not fit the model", where=program.provenance.name, why=str(error)) from error
    dtypes = {n: one.dtype for n, one in options.inputs.items()}
    bound = replace(
        options,
        inputs={**options.inputs, **{n: InputBinding(shape, dtypes.get(n)) for n, shape in fixed.items()}},
        data=None,
        preprocess=(),  # steps stay around all variants together
        postprocess=(),
        raw_data=None,
        static=(),
        dump=None if options.dump is None else options.dump / name,
        decision=decision_of(shop, options.decision, name),
    )
    own = [feeds for feeds in given if all(feeds[n].shape == shape for n, shape in fixed.items())]
    made = () if own else tuple(inputs.generate(program, options.seed, 2, bind))
    return Bucket(bind, lower(bound, name), bound, (*own, *made), len(own), {})
