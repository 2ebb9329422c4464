"""Initializers are constants: they leave the list of inputs.

Up to IR version 3 every initializer had to be listed as an input too, and a caller might override it. A program's
signature has never contained such inputs (they have a value, so nobody must feed them); here they become what engines
can fold and prepack. The model is marked with an IR version that allows it. Bodies keep theirs: the inputs of a body
are matched by position. (onnx_ir's RemoveInitializersFromInputsPass changes bodies too.)
"""

from __future__ import annotations

from dataclasses import dataclass

from neoc.compile.passes import graph as g
from neoc.compile.program import Program

IR_VERSION = 8
"""at least this: from 4 on initializers need not be inputs, 8 is the first with local functions, of opset 15"""


@dataclass(frozen=True)
class InitializerInputs:
    """Takes initializers out of the main graph's inputs and raises the IR version to 8 where it is lower."""

    def __call__(self, program: Program) -> Program:
        if program.model.ir_version >= IR_VERSION and not any(v.is_initializer() for v in program.model.graph.inputs):
            return program
        copy = program.clone()
        inputs = copy.model.graph.inputs
        inputs[:] = [v for v in inputs if not v.is_initializer()]
        copy.model.ir_version = max(copy.model.ir_version, IR_VERSION)
        return g.changed(program, copy, True)
