"""Dockerfile.neuron: parsed, its pins those of the rule set's SDK, its packages from AWS's own repositories."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

from neoc.targets.engines.neuron.preflight import NEWEST, rule_set

ROOT = Path(__file__).parents[1]
SDK_PACKAGES = {
    "2.32": {
        "neuronx-cc": "2.27.5334.0",
        "nrtpy": "2.34.10",
        "aws-neuronx-runtime-lib": "2.34.10.0",
        "aws-neuronx-tools": "2.32.28.0",
    }
}
"""release of the Neuron SDK -> its package manifest"""


def instructions() -> list[tuple[str, str]]:
    """(instruction, the rest) with continued lines joined and comments left out."""
    lines = [
        line for line in (ROOT / "Dockerfile.neuron").read_text().splitlines() if not line.lstrip().startswith("#")
    ]
    text = re.sub(r"\\\n", " ", "\n".join(lines))
    found = [line.split(None, 1) for line in text.splitlines() if line.strip()]
    return [(words[0], words[1]) for words in found]


def test_it_is_plain_ubuntu_and_compiles() -> None:
    found = instructions()
    assert found[0] == ("FROM", "ubuntu:24.04")
    assert sum(word == "FROM" for word, _ in found) == 1
    assert json.loads(found[-1][1]) == ["neoc", "compile"]
    assert {word for word, _ in found} <= {"FROM", "ARG", "RUN", "ENV", "COPY", "WORKDIR", "ENTRYPOINT"}
    for word, rest in found:
        if word == "RUN":
            shlex.split(rest)  # raises for an open quote


def test_every_pin_is_the_one_of_the_rule_sets_sdk() -> None:
    assert rule_set().name == f"SDK {NEWEST}"
    text = " ".join(rest for _, rest in instructions())
    pins = dict(re.findall(r"(neuronx-cc|nrtpy|aws-neuronx-[a-z-]+)={1,2}([0-9][0-9.]*[0-9])", text))
    assert pins == SDK_PACKAGES[NEWEST]


def test_the_vendors_packages_are_from_the_vendors_repositories_and_probed() -> None:
    for word, rest in instructions():
        if word == "RUN" and ("neuronx-cc==" in rest or "nrtpy==" in rest):
            assert "--extra-index-url https://pip.repos.neuron.amazonaws.com" in rest
        if word == "RUN" and "aws-neuronx" in rest:
            assert "https://apt.repos.neuron.amazonaws.com" in rest
            assert "signed-by" in rest
    assert any(word == "RUN" and rest.startswith("neuronx-cc --help") for word, rest in instructions())
