"""TVM's pipeline for GPUs, with dlight's default schedules tried function by function.

TVM's own pipeline gives each loop nest the first of dlight's rules that answers, and the whole build is lost where that
schedule cannot be lowered (a grouped convolution by GeneralReduction, say). Here the rules are tried in the same order,
and one that cannot be lowered to a kernel gives way to the next; the last, Fallback, binds any loop nest to threads.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from neoc.compile.contracts import Gap
from neoc.compile.errors import UnsupportedModel
from neoc.targets.engines.tvm import importable

if TYPE_CHECKING:
    from neoc.compile.program import Program

RULES = ("Matmul", "GEMV", "Reduction", "GeneralReduction", "Fallback")
"""of tvm.s_tir.dlight.gpu, in the order of TVM's default pipeline for CUDA"""

_FAILURES = (
    AssertionError,
    AttributeError,
    IndexError,
    KeyError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""what TVM's importer, schedules and lowering raise where they meet what they were not written for"""


def build(program: Program, code: dict[str, Any]) -> tuple[Any, Counter[str]]:
    """TVM's executable, and how many kernels' loop nests each rule scheduled. Raises UnsupportedModel."""
    import tvm
    from tvm.relax.frontend.onnx import from_onnx

    target = tvm.target.Target(code)
    used: Counter[str] = Counter()
    try:
        module = from_onnx(importable(program.model), keep_params_in_input=False)
        return tvm.compile(module, target=target, relax_pipeline=_pipeline(target, used)), used
    except _FAILURES as error:
        why = _first_line(error)
        unbound = [spec for spec in program.signature.inputs if not spec.is_static]
        reason = "TVM loses track of its open dimensions" if unbound else f"TVM cannot compile it: {why}"
        gaps = [Gap("cuda", s.name, "", reason, suggestion=f"bind it with --input {s.name}=SIZES") for s in unbound]
        fix = (
            f"bind them: {' '.join(f'--input {s.name}=SIZES' for s in unbound)}"
            if unbound
            else "choose another --engine"
        )
        raise UnsupportedModel(
            "TVM cannot compile the model for a GPU", why=why, gaps=gaps or [Gap("cuda", "", "", reason)], fix=fix
        ) from error


def _pipeline(target: Any, used: Counter[str]) -> Any:
    """TVM's default pipeline for CUDA with `_schedule` in the place of ApplyDefaultSchedule."""
    import tvm
    from tvm import relax
    from tvm.relax.backend.cuda import pipeline as default

    def run(module: Any, context: Any) -> Any:
        with target:
            before = tvm.transform.Sequential(
                [
                    *default.library_dispatch_passes(target),
                    relax.transform.LegalizeOps(),
                    relax.transform.AnnotateTIROpPattern(),
                    relax.transform.FoldConstant(),
                    relax.transform.FuseOps(),
                    relax.transform.FuseTIR(),
                ]
            )
            after = [*default.dataflow_lower_passes(target), *default.finalize_passes(target)]
            return tvm.transform.Sequential(after)(_schedule(before(module), target, used))

    return tvm.transform.module_pass(run, opt_level=0)


def _schedule(module: Any, target: Any, used: Counter[str]) -> Any:
    """Each loop nest that has no schedule yet by the first rule whose schedule becomes a kernel."""
    import tvm
    from tvm.s_tir import dlight

    for variable, function in list(module.functions_items()):
        if not isinstance(function, tvm.tirx.PrimFunc) or (function.attrs or {}).get("tirx.is_scheduled") == 1:
            continue
        why = ""
        for name in RULES:
            try:
                made = getattr(dlight.gpu, name)().apply(function, target, False)
                if made is None:
                    continue
                first = made[0] if isinstance(made, list) else made
                scheduled = first.mod["main"].with_attr("tirx.is_scheduled", True)
                alone = scheduled.with_attr("global_symbol", variable.name_hint)
                tvm.tirx.build(tvm.IRModule({variable.name_hint: alone}), target=target)
            except _FAILURES as error:
                why = f"{name}: {_first_line(error)}"
                continue
            module[variable] = scheduled
            used[name] += 1
            break
        else:
            raise ValueError(f"no schedule makes a kernel of {variable.name_hint} ({why or 'no rule takes it'})")
    return module


def _first_line(error: BaseException) -> str:
    """TVM's messages carry the whole function with marks under it; what is wrong stands in the first lines."""
    text = str(error).split("Error in pass:")[0].split("# from tvm.script")[0]
    return " ".join(text.split())[:400] or type(error).__name__
