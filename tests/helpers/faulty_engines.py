"""Engines that go wrong on purpose, named by reference: `faulty_engines:WrongSigmoid`. They stand on onnxruntime."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neoc.compile.contracts import (
    Built,
    Engine,
    EngineOptions,
    Gap,
    Numerics,
    Placement,
    Session,
    Signature,
    Target,
    Variant,
)
from neoc.compile.program import Program
from neoc.targets.engines.onnxruntime import OnnxRuntime


class WrongSigmoid(OnnxRuntime):
    """Computes Tanh where the model says Sigmoid: plausible numbers, all of them wrong."""

    name = "faulty_engines:WrongSigmoid"
    oracle = False

    def build(self, program: Program, target: Target, variant: Variant, folder: Path) -> Built:
        changed = program.clone()
        for node in changed.nodes():
            if node.op_type == "Sigmoid":
                node.op_type = "Tanh"
        return super().build(changed, target, variant, folder)


class Crashes(OnnxRuntime):
    """Dies of a segmentation fault while it builds."""

    name = "faulty_engines:Crashes"
    oracle = False

    def build(self, program: Program, target: Target, variant: Variant, folder: Path) -> Built:
        os.kill(os.getpid(), signal.SIGSEGV)
        raise AssertionError("unreachable")


class Hangs(OnnxRuntime):
    """Never finishes to build."""

    name = "faulty_engines:Hangs"
    oracle = False

    def build(self, program: Program, target: Target, variant: Variant, folder: Path) -> Built:
        time.sleep(3600)
        raise AssertionError("unreachable")


class Devours(OnnxRuntime):
    """Takes memory until it is stopped."""

    name = "faulty_engines:Devours"
    oracle = False

    def build(self, program: Program, target: Target, variant: Variant, folder: Path) -> Built:
        hoard = []
        while True:
            hoard.append(b"x" * (64 << 20))


class Empty(Engine):
    """Reports success and leaves nothing."""

    name = "faulty_engines:Empty"

    def missing(self) -> str | None:
        return None

    def serves(self, target: Target) -> bool:
        return True

    def gaps(self, program: Program, target: Target) -> tuple[Gap, ...]:
        return ()

    def variants(self, program: Program, target: Target, options: EngineOptions) -> tuple[Variant, ...]:
        return (Variant.of("default"),)

    def build(self, program: Program, target: Target, variant: Variant, folder: Path) -> Built:
        (folder / "out.bin").touch()
        return Built({"out.bin": folder / "out.bin"}, (), {}, Placement(()))

    def open(self, members, signature, variant, threads, device):  # type: ignore[no-untyped-def]
        raise AssertionError("there is nothing to open")


class Picky(OnnxRuntime):
    """Finds a gap in every Relu."""

    name = "faulty_engines:Picky"
    oracle = False

    def gaps(self, program: Program, target: Target) -> tuple[Gap, ...]:
        return tuple(
            Gap(self.name, node.name or "?", node.op_type, "no Relu here", suggestion="use Max(x, 0)")
            for node in program.nodes()
            if node.op_type == "Relu"
        )


class _Elsewhere(OnnxRuntime):
    """Stands for an engine whose chip is not here: what it builds is checked without it."""

    oracle = False
    reach = Numerics.SIMULATED

    def serves(self, target: Target) -> bool:
        return True

    def rehearsal(self, target: Target) -> tuple[Numerics, str]:
        return self.reach, "a stand-in for its chip ran it"

    def rehearse(
        self, members: Mapping[str, memoryview], signature: Signature, variant: Variant, target: Target
    ) -> Session:
        return super().open(members, signature, variant, 1, None)

    def open(self, *_: Any) -> Session:
        raise AssertionError("there is no chip to open it on")


class Simulated(_Elsewhere):
    name = "faulty_engines:Simulated"


class Emulated(_Elsewhere):
    name = "faulty_engines:Emulated"
    reach = Numerics.EMULATED


class WronglySimulated(_Elsewhere, WrongSigmoid):
    name = "faulty_engines:WronglySimulated"
