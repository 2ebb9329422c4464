"""Buffers bound to a session once: `session.bind(...)`, then `run()` with no argument, over the caller's own arrays.

    with session.bind({"x": frame}) as binding:       # frame: the caller's array, read anew by every run
        while capture(into=frame):
            speech = binding.run()["output"]          # the same array each time; copy it to keep it

What is checked here is checked once, so that a run costs what the engine costs. An engine that can read and write the
buffers in place returns a `Binding` of its own from `Session._bind`; any other session is served by `CopyingBinding`,
which computes the same and copies the results over.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType, TracebackType
from typing import Any, Self

import numpy as np

from neoc.compile.contracts import FeedCheck, Feeds, Session, TensorSpec, dtype_of
from neoc.compile.errors import FeedError

Buffers = Mapping[str, np.ndarray]


class Binding(ABC):
    """A session with its buffers. One thread at a time; several bindings of one session do not disturb each other.

    inputs, outputs: the buffers by name. `run` reads the inputs as they are then, overwrites the outputs and gives
    them, the same arrays every time. Closing the binding leaves the session and the buffers as they are.
    """

    def __init__(self, inputs: Buffers, outputs: Buffers) -> None:
        self.inputs: Buffers = MappingProxyType(dict(inputs))
        self.outputs: Buffers = MappingProxyType(dict(outputs))

    @abstractmethod
    def run(self) -> Buffers:
        """The outputs. Raises FeedError where the engine rejects the values, or gives an output of another size."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the buffers. Safe to call twice; `run` then raises FeedError."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class CopyingBinding(Binding):
    """For sessions whose engine makes its own results: they are copied into the buffers."""

    def __init__(self, session: Session, inputs: Buffers, outputs: Buffers) -> None:
        super().__init__(inputs, outputs)
        self._session: Session | None = session
        self._feeds, self._names = dict(inputs), list(outputs)

    def run(self) -> Buffers:
        if self._session is None:
            raise unbound()
        results = self._session.run(self._feeds, self._names)
        for name, buffer in self.outputs.items():
            copy_over(name, buffer, results[name])
        return self.outputs

    def close(self) -> None:
        self._session = None


def bind(session: Session, inputs: Buffers, outputs: Buffers | Sequence[str] | None) -> Binding:
    """What `Session.bind` does: check the buffers, make those that are missing, hand them to the session."""
    for spec in session.inputs:
        _refuse_unbindable("input", spec)
    FeedCheck(session.inputs).check(inputs)
    for name, array in inputs.items():
        if not array.flags.c_contiguous:
            raise _unfit("input", name, "it is not C-contiguous")
    given = outputs if isinstance(outputs, Mapping) else {}
    known = {spec.name: spec for spec in session.outputs}
    names = list(known) if outputs is None else list(dict.fromkeys(outputs))
    if strangers := [name for name in names if name not in known]:
        raise FeedError(
            "an output was bound that the model does not have",
            why=f"unknown {', '.join(map(repr, strangers))}",
            fix=f"the model gives {', '.join(map(repr, known))}",
        )
    for name in names:
        _refuse_unbindable("output", known[name])
    for name, array in given.items():
        _check_output(known[name], array)
    _refuse_overlaps(inputs, given)
    made = given if given or not names else _allocate(session, inputs, [known[name] for name in names])
    return session._bind(inputs, {name: made[name] for name in names})


def copy_over(name: str, buffer: np.ndarray, result: np.ndarray) -> None:
    """Raises FeedError where the result has another shape than the buffer: numpy would broadcast it."""
    if result.shape != buffer.shape:
        raise resized(name, buffer.shape, result.shape)
    np.copyto(buffer, result)


def resized(name: str, bound: Sequence[int], found: Sequence[int]) -> FeedError:
    """The error for an output that came out in another size than its buffer has."""
    return FeedError(
        "an output does not fit its buffer",
        where=f"output {name!r}",
        why=f"it came out as {list(found)}, the buffer is {list(bound)}",
        fix="bind again with a buffer of that shape, or call run(), which allocates",
    )


def unbound() -> FeedError:
    return FeedError("the binding is closed", fix="bind the buffers again")


def _allocate(session: Session, inputs: Feeds, specs: Sequence[TensorSpec]) -> dict[str, np.ndarray]:
    """Buffers for outputs; sizes that the signature leaves open are learnt from a run on the buffers as they are."""
    if all(spec.is_static for spec in specs):
        return {
            s.name: np.empty(tuple(d for d in s.shape or () if isinstance(d, int)), dtype_of(s.dtype)) for s in specs
        }
    return session.run(inputs, [spec.name for spec in specs])


def _check_output(spec: TensorSpec, array: Any) -> None:
    if not isinstance(array, np.ndarray):
        raise _unfit("output", spec.name, f"a numpy array is needed, not {type(array).__name__}")
    try:
        FeedCheck([spec]).check({spec.name: array})
    except FeedError as error:
        raise _unfit("output", spec.name, error.why, f"the model gives {spec}; neoc never casts") from error
    if not array.flags.c_contiguous:
        raise _unfit("output", spec.name, "it is not C-contiguous")
    if not array.flags.writeable:
        raise _unfit("output", spec.name, "it is read-only")


def _refuse_overlaps(inputs: Buffers, outputs: Buffers) -> None:
    """An output over an input would change what the next run reads; one over another output would be lost."""
    written = list(outputs.items())
    for index, (name, array) in enumerate(written):
        others = [*(("input", *item) for item in inputs.items()), *(("output", *item) for item in written[:index])]
        for role, other, memory in others:
            if np.may_share_memory(array, memory):  # exact for contiguous arrays: their bounds are all they hold
                raise _unfit("output", name, f"it shares memory with the {role} {other!r}")


def _refuse_unbindable(role: str, spec: TensorSpec) -> None:
    if spec.dtype in ("string", "sequence", "optional", "undefined"):
        raise _unfit(role, spec.name, f"a {spec.dtype} has no buffer", "call run(), which takes and gives such values")


def _unfit(
    role: str, name: str, why: str, fix: str = "bind a C-contiguous array that is used for nothing else"
) -> FeedError:
    return FeedError("a buffer cannot be bound", where=f"{role} {name!r}", why=why, fix=fix)
