"""The normal form: what every program is brought into before engines see it. Each pass is verified.

    program = run(program, DEFAULT)

A pass is a frozen dataclass in a file of its own; `DEFAULT` holds them in order. Running DEFAULT twice changes nothing
the second time, and equal programs give equal results.
"""

from __future__ import annotations

from neoc.compile.passes.bind_values import BindValues
from neoc.compile.passes.common_values import CommonValues
from neoc.compile.passes.convert_opset import ConvertOpset
from neoc.compile.passes.dead_code import DeadCode
from neoc.compile.passes.fold_constants import FoldConstants
from neoc.compile.passes.fold_pre import FoldPre, foldable
from neoc.compile.passes.fold_shapes import FoldShapes
from neoc.compile.passes.identities import Identities
from neoc.compile.passes.infer_shapes import InferShapes
from neoc.compile.passes.initializer_inputs import InitializerInputs
from neoc.compile.passes.inline_functions import InlineFunctions
from neoc.compile.passes.inline_if import InlineIf
from neoc.compile.passes.legalize import Legalize
from neoc.compile.passes.lift_constants import LiftConstants
from neoc.compile.passes.loop_invariants import LoopInvariants
from neoc.compile.passes.loop_to_gru import LoopToGru
from neoc.compile.passes.manager import Callback, Pass, Repeat, run
from neoc.compile.passes.tree_ensembles import TreeEnsembles
from neoc.compile.passes.unique_names import UniqueNames
from neoc.compile.passes.unroll_loops import UnrollLoops
from neoc.compile.program import Program

__all__ = [
    "DEFAULT",
    "TIDY",
    "BindValues",
    "Callback",
    "CommonValues",
    "ConvertOpset",
    "DeadCode",
    "FoldConstants",
    "FoldPre",
    "FoldShapes",
    "Identities",
    "InferShapes",
    "InitializerInputs",
    "InlineFunctions",
    "InlineIf",
    "Legalize",
    "LiftConstants",
    "LoopInvariants",
    "LoopToGru",
    "Pass",
    "Repeat",
    "TreeEnsembles",
    "UniqueNames",
    "UnrollLoops",
    "fold_steps",
    "run",
]

TIDY = Repeat(
    (
        InferShapes(),
        FoldShapes(),
        FoldConstants(),
        InlineIf(),
        LoopInvariants(),
        LoopToGru(),
        LiftConstants(),
        Legalize(),
        Identities(),
        CommonValues(),
        DeadCode(),
    )
)
"""what follows from what is known, until nothing more does"""

DEFAULT: tuple[Pass, ...] = (
    UniqueNames(),
    InlineFunctions(),
    InitializerInputs(),
    LiftConstants(),
    ConvertOpset(),
    TreeEnsembles(),
    TIDY,
)


def fold_steps(program: Program, mode: str) -> tuple[Pass, ...]:
    """The passes that move image steps of the program into its graph, as far as `mode` allows ('exact', 'near')."""
    inputs = foldable(program)
    return (FoldPre(mode, inputs), *DEFAULT) if inputs else ()
