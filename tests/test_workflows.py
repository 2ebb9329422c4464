"""The workflows call make targets that exist, with no more rights than they need, and CI covers every Python."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def _load(path: Path) -> dict[Any, Any]:
    content = yaml.safe_load(path.read_text())
    assert isinstance(content, dict)
    return content


def _steps(workflow: dict[Any, Any]) -> list[dict[str, Any]]:
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def test_both_workflows_are_there() -> None:
    assert [path.name for path in WORKFLOWS] == ["ci.yml", "nightly.yml"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_command_is_a_make_target(path: Path) -> None:
    commands = [step["run"].strip() for step in _steps(_load(path)) if "run" in step]
    assert commands
    for command in commands:
        match = re.fullmatch(r"make ([a-z-]+)", command)
        assert match, f"{command!r}: workflows call make and nothing else"
        assert match[1] in TARGETS


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_rights_are_least_and_actions_are_pinned(path: Path) -> None:
    workflow = _load(path)
    assert workflow["permissions"] in ({"contents": "read"}, {})
    for job in workflow["jobs"].values():
        assert job.get("permissions", workflow["permissions"]) == {"contents": "read"}
        assert job["timeout-minutes"] <= 240
    for step in _steps(workflow):
        if "uses" in step:
            assert re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}", step["uses"]), step["uses"]
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


def test_ci_tests_every_python_that_the_makefile_accepts() -> None:
    matrix = _load(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]["test"]["strategy"]["matrix"]
    accepted = re.search(r"\((\d), (\d+)\) <= sys.version_info\[:2\] <= \((\d), (\d+)\)", _text(".ci/find-python"))
    assert accepted
    lowest, highest = int(accepted[2]), int(accepted[4])
    assert matrix["python"] == [f"3.{minor}" for minor in range(lowest, highest + 1)]
    project = tomllib.loads(_text("pyproject.toml"))["project"]
    assert project["requires-python"] == f">=3.{lowest}"


def test_ci_runs_lint_and_tests_as_the_local_script_does() -> None:
    ci = {step["run"] for step in _steps(_load(ROOT / ".github" / "workflows" / "ci.yml")) if "run" in step}
    steps = re.findall(r"^step ([a-z-]+)$", _text(".ci/run"), re.MULTILINE)
    assert steps == ["lint", "test"]
    assert {f"make {step}" for step in steps} <= ci


def test_nightly_runs_on_own_machines_and_takes_timings_alone() -> None:
    workflow = _load(ROOT / ".github" / "workflows" / "nightly.yml")
    # YAML 1.1 reads the key `on` as true.
    assert "schedule" in workflow[True]
    jobs = workflow["jobs"]
    assert all("self-hosted" in jobs[name]["runs-on"] for name in ("deep", "plan"))
    assert jobs["measure"]["needs"] == ["deep", "plan"]
    assert jobs["measure"]["runs-on"] == "${{ matrix.labels }}"
    runs = {step["run"] for step in _steps(workflow) if "run" in step}
    assert {"make conformance", "make fuzz", "make nightly"} <= runs


def test_the_matrix_is_that_of_nightly_toml() -> None:
    from neoc.bench import nightly, suite

    found = nightly.matrix()["include"]
    assert [one["name"] for one in found] == ["x64", "arm64", "jetson", "gpu", "inf2"]
    for one in found:
        assert one["labels"][0] == "self-hosted"
        assert suite.read(one["suite"], ROOT / "neoc.toml")


@pytest.mark.needs("check_jsonschema")
@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_fit_githubs_schema(path: Path) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", str(path)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.needs("zizmor")
def test_zizmor_finds_nothing() -> None:
    own = Path(sys.executable).with_name("zizmor")
    command = [
        str(own) if own.is_file() else "zizmor",
        "--offline",
        "--no-progress",
        str(ROOT / ".github" / "workflows"),
    ]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No findings to report" in done.stdout + done.stderr


def _text(name: str) -> str:
    return (ROOT / name).read_text()
