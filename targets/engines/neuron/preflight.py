"""What the compiler's documentation says it refuses, looked for in the module before the compiler is asked.

The rules are data, one file for each release of the Neuron SDK. A module without findings 'passes neoc's preflight':
it is not thereby known to compile.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from neoc.targets.engines.neuron.hlo import Computation, Instruction, Module

NEWEST = "2.32"

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    ">": lambda a, b: a > b,
    "in": lambda a, b: a in b,
}


@dataclass(frozen=True)
class Finding:
    """One instruction that a rule names."""

    code: str
    """of the compiler's error catalogue"""
    message: str
    advice: str
    instruction: Instruction
    is_error: bool = True

    def __str__(self) -> str:
        return f"NCC_{self.code}: {self.message} ({self.instruction.opcode} {self.instruction.shape})"


@dataclass(frozen=True)
class HloRule:
    """Broken by an instruction for which every condition (fact, comparison, value) holds."""

    code: str
    when: tuple[tuple[str, str, Any], ...]
    message: str
    advice: str
    is_error: bool = True

    def broken(self, facts: Mapping[str, Any]) -> bool:
        return all(_COMPARE[how](facts[fact], value) for fact, how, value in self.when)


STRUCTURE = frozenset({"call", "constant", "get-tuple-element", "parameter", "tuple"})
"""opcodes that hold a module together, whether or not a list of operators names them"""


@dataclass(frozen=True)
class Opcodes:
    """What an operator of the model becomes."""

    always: tuple[str, ...]
    """in every case that was seen"""
    sometimes: tuple[str, ...]
    """with some attributes, dtypes or shapes"""


@dataclass(frozen=True)
class RuleSet:
    name: str
    opcodes: frozenset[str]
    custom_calls: frozenset[str]
    rules: tuple[HloRule, ...]


@cache
def rules_here() -> RuleSet:
    """The newest rules; where the compiler is installed, with the operators that it lists itself."""
    from neoc.targets.engines.neuron.compiler import listed_operators

    rules = rule_set()
    listed = listed_operators()
    if listed is None:
        return rules
    release, names = listed
    return replace(rules, name=f"{rules.name}, operators of neuronx-cc {release}", opcodes=names | STRUCTURE)


@cache
def opcodes() -> dict[str, Opcodes]:
    """The opcodes that each row of the op table was seen to become, by its key: measured, not written by hand."""
    data = json.loads(Path(__file__).with_name("opcodes.json").read_text())
    return {key: Opcodes(tuple(row["always"]), tuple(row["sometimes"])) for key, row in data["operators"].items()}


@cache
def rule_set(sdk: str = NEWEST) -> RuleSet:
    """The rules of a release of the Neuron SDK, '2.32'."""
    data = json.loads(Path(__file__).with_name(f"preflight_{sdk}.json").read_text())
    rules = (
        HloRule(
            row["code"],
            tuple((fact, how, value) for fact, how, value in row["when"]),
            row["message"],
            row["advice"],
            row.get("severity", "error") == "error",
        )
        for row in data["rules"]
    )
    return RuleSet(data["name"], frozenset(data["opcodes"]), frozenset(data["custom_calls"]), tuple(rules))


def examine(module: Module, rules: RuleSet) -> tuple[Finding, ...]:
    """Everything that the rules name, in the order of the instructions."""
    return tuple(_examine(module, rules))


def _examine(module: Module, rules: RuleSet) -> Iterator[Finding]:
    by_id = {c.id: c for c in module.computations}
    for computation in module.computations:
        local = {i.id: i for i in computation.instructions}
        for instruction in computation.instructions:
            if instruction.opcode not in rules.opcodes:
                advice = "write it with other operators"
                yield Finding("EVRF001", "the operator is not supported", advice, instruction)
            facts = _facts(instruction, local, by_id, rules)
            for rule in rules.rules:
                if rule.broken(facts):
                    yield Finding(rule.code, rule.message, rule.advice, instruction, rule.is_error)


def _facts(
    instruction: Instruction,
    local: Mapping[int, Instruction],
    computations: Mapping[int, Computation],
    rules: RuleSet,
) -> dict[str, Any]:
    """What conditions may ask of an instruction. Of a window, the largest value over its dimensions."""
    window, operands = instruction.window, [local[i] for i in instruction.operands]
    return {
        "opcode": instruction.opcode,
        "dtype": instruction.shape.dtype,
        "dynamic": instruction.shape.dynamic,
        "bytes": instruction.shape.bytes,
        "operands": len(operands),
        "operand_dtype": operands[0].shape.dtype if operands else "",
        "stride": max((d.stride for d in window), default=1),
        "window_dilation": max((d.window_dilation for d in window), default=1),
        "base_dilation": max((d.base_dilation for d in window), default=1),
        "combines": _combines([computations[i] for i in instruction.called]),
        "known_target": instruction.custom_call_target in rules.custom_calls,
    }


def _combines(called: Sequence[Computation]) -> bool:
    """Whether a called computation makes something of its arguments, rather than returning one of them."""
    return any(i.opcode not in ("parameter", "tuple", "copy") for c in called for i in c.instructions)
