"""Running passes: verification, names in errors, the callback, rounds."""

from __future__ import annotations

from dataclasses import dataclass, replace

import onnx_ir as ir
import pytest
from pass_programs import apply, graph, operators

from neoc.compile.errors import InvalidModel, PassFailure
from neoc.compile.passes import DEFAULT, Identities, Pass, Repeat, UniqueNames, run
from neoc.compile.program import Program

CHAIN = "(float[2] x) => (float[2] y) { a = Relu(x) b = Neg(a) c = Abs(b) d = Exp(c) e = Sqrt(d) y = Tanh(e) }"


@dataclass(frozen=True)
class Cut:
    """A broken pass: node `index` reads a value that nothing defines."""

    index: int = 0

    def __call__(self, program: Program) -> Program:
        copy = program.clone()
        copy.model.graph[self.index].replace_input_with(0, ir.Value(name="nowhere"))
        return copy


@dataclass(frozen=True)
class Rename:
    """A broken pass: the first output gets another name."""

    def __call__(self, program: Program) -> Program:
        copy = program.clone()
        copy.model.graph.outputs[0].name = "other"
        return copy


@dataclass(frozen=True)
class Explode:
    def __call__(self, program: Program) -> Program:
        raise KeyError("surprise")


@dataclass(frozen=True)
class Restless:
    """Never settles."""

    def __call__(self, program: Program) -> Program:
        return replace(program)


def test_a_broken_pass_is_named_with_those_before_it_and_the_nodes_around_the_fault() -> None:
    with pytest.raises(PassFailure) as caught:
        run(graph(CHAIN), (UniqueNames(), Identities(), Cut(index=3)))
    message = str(caught.value)
    assert "Cut(index=3)" in message
    assert "passes before it: UniqueNames(), Identities()" in message
    assert "Exp reads 'nowhere', but nothing defines it" in message
    shown = caught.value.excerpt.splitlines()
    # Six nodes, the fault at 3: three before it, and the two after it that there are.
    assert [line.split()[0] for line in shown] == ["0", "1", "2", ">", "4", "5"]
    assert "Exp(nowhere)" in shown[3]
    assert caught.value.exit_status == 70
    assert caught.value.as_dict()["excerpt"] == caught.value.excerpt


def test_a_pass_that_raises_is_named() -> None:
    with pytest.raises(PassFailure, match=r"Explode\(\).*KeyError: 'surprise'") as caught:
        run(graph(CHAIN), (Explode(),))
    assert isinstance(caught.value.__cause__, KeyError)


def test_outputs_keep_their_names() -> None:
    with pytest.raises(PassFailure, match="the outputs were y and are other"):
        run(graph(CHAIN), (Rename(),))


def test_a_repeat_that_never_settles_is_a_failure() -> None:
    with pytest.raises(PassFailure, match="still changes after 3 rounds"):
        run(graph(CHAIN), (Repeat((Restless(),), limit=3),))


def test_a_repeat_runs_until_a_round_changes_nothing() -> None:
    before = graph("(float[2] x) => (float[2] y) { a = Identity(x) b = Identity(a) y = Relu(b) }")
    calls: list[bool] = []
    after = run(before, (Repeat((Identities(),)),), lambda step, old, new, seconds: calls.append(new is not old))
    assert operators(after) == ["Relu"]
    assert calls == [True, False]
    assert operators(Repeat((Identities(),))(before)) == ["Relu"]


def test_the_callback_sees_every_pass_with_its_options_in_repr() -> None:
    seen: list[tuple[str, int, int]] = []

    def callback(step: Pass, before: Program, after: Program, seconds: float) -> None:
        assert seconds >= 0
        seen.append((repr(step), len(operators(before)), len(operators(after))))

    run(graph("(float[2] x) => (float[2] y) { a = Identity(x) y = Relu(a) }"), DEFAULT, callback)
    names = [name for name, _, _ in seen]
    assert names[:2] == ["UniqueNames()", "InlineFunctions()"]
    assert "ConvertOpset(lowest=14, highest=28)" in names
    assert ("Identities()", 2, 1) in seen


def test_passes_are_frozen_comparable_and_hashable() -> None:
    for step in DEFAULT:
        assert isinstance(step, Pass)
        assert hash(step) == hash(replace(step))
        assert eval(repr(step), vars(__import__("neoc.compile.passes", fromlist=["x"]))) == step


def test_a_source_that_is_no_valid_graph_is_the_users_error_not_a_passes() -> None:
    before = graph(CHAIN)
    with pytest.raises(InvalidModel, match="reads 'nowhere'"):
        run(Cut(index=1)(before), DEFAULT)


def test_names_may_repeat_in_the_source_but_not_after_unique_names() -> None:
    branches = """(bool c, float[2] x) => (float[2] y) {
        y = If (c) <then_branch = t () => (float[2] r) { r = Relu(x) },
                    else_branch = e () => (float[2] r) { r = Neg(x) }>
    }"""
    after = apply(graph(branches), UniqueNames())
    names = [v.name for g in after.model.graphs() for n in g for v in n.outputs]
    assert len(set(names)) == len(names) == 3

    @dataclass(frozen=True)
    class Repeated:
        def __call__(self, program: Program) -> Program:
            copy = program.clone()
            for node in copy.nodes():
                if node.op_type in ("Relu", "Neg"):
                    node.outputs[0].name = "again"
            return copy

    with pytest.raises(PassFailure, match="two values are named 'again'"):
        run(graph(branches), (UniqueNames(), Repeated()))
