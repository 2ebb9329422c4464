"""Running passes: each is verified, timed and reported, and a broken one is named with those before it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from neoc.compile.errors import InvalidModel, NeocError, PassFailure
from neoc.compile.passes import verify
from neoc.compile.program import Program


@runtime_checkable
class Pass(Protocol):
    """A frozen dataclass whose fields are its options, so that `repr(pass)` is its log line and its cache key.

    A pass never changes the program it is given: it works on a clone, or gives back the very same object where it
    found nothing to do. A pass that takes inputs away names them in `bound`.
    """

    def __call__(self, program: Program) -> Program: ...


Callback = Callable[[Pass, Program, Program, float], None]
"""called after every pass with the pass, the program before and after, and the seconds it took"""


@dataclass(frozen=True)
class Repeat:
    """Runs `passes` in order, again and again until a whole round changes nothing.

    `run` verifies and reports each of them by itself. A program that still changes after `limit` rounds is a
    PassFailure: no chain of one model may be that deep, and two passes must not undo each other.
    """

    passes: tuple[Pass, ...]
    limit: int = 64

    def __call__(self, program: Program) -> Program:
        return run(program, (self,))


def run(program: Program, passes: Iterable[Pass], callback: Callback | None = None) -> Program:
    """The program after all `passes`; the one given stays as it is.

    After each pass the rules of neoc.compile.passes.verify are checked, and that the signature kept its names and
    dtypes. Raises PassFailure for a pass that broke one or raised; InvalidModel where the program given breaks one.
    """
    fault = verify.first_fault(program, names=False)
    if fault is not None:
        raise InvalidModel(
            "the model breaks a rule of ONNX",
            where=program.provenance.name,
            why=fault.message,
            fix="check it with onnx.checker.check_model, or export it again",
        )
    runner = _Runner(callback, verify.first_fault(program) is None)
    for step in passes:
        program = runner.run(step, program)
    return program


class _Runner:
    """`unique`: whether names were unique so far; from then on no pass may repeat one."""

    def __init__(self, callback: Callback | None, unique: bool) -> None:
        self._callback = callback
        self._unique = unique
        self._done: list[str] = []

    def run(self, step: Pass, program: Program) -> Program:
        if not isinstance(step, Repeat):
            return self._single(step, program)
        for _ in range(step.limit):
            before = program
            for inner in step.passes:
                program = self.run(inner, program)
            if program is before:
                return program
        raise self._failure(step, program, f"the program still changes after {step.limit} rounds")

    def _single(self, step: Pass, before: Program) -> Program:
        started = time.perf_counter()
        try:
            after = step(before)
        except NeocError:
            raise
        except Exception as error:
            raise self._failure(step, before, f"it raised {type(error).__name__}: {error}") from error
        seconds = time.perf_counter() - started
        if after is not before:
            self._check(step, before, after)
        self._done.append(repr(step))
        if self._callback is not None:
            self._callback(step, before, after, seconds)
        return after

    def _check(self, step: Pass, before: Program, after: Program) -> None:
        bound: frozenset[str] = getattr(step, "bound", frozenset())
        retyped: frozenset[str] = getattr(step, "retyped", frozenset())
        message = verify.signature_fault(before.signature, after.signature, bound, retyped)
        if message is not None:
            raise self._failure(step, after, message)
        fault = verify.first_fault(after, names=self._unique)
        if fault is not None:
            raise self._failure(step, after, fault.message, fault.excerpt())
        self._unique = self._unique or verify.first_fault(after) is None

    def _failure(self, step: Pass, program: Program, why: str, excerpt: str = "") -> PassFailure:
        before = ", ".join(dict.fromkeys(self._done)) or "none"
        return PassFailure(
            f"the pass {step!r} broke the program",
            where=program.provenance.name,
            why=f"{why} (passes before it: {before})",
            fix="This is a bug in neoc: please report it with the model",
            excerpt=excerpt,
        )
