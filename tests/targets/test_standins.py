"""The stand-in of neuronx-cc: it accepts every good module, rejects every bad one, and cannot be used by accident."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from hlo_mutations import MUTATIONS, Mutation
from small_models import cnn, node_cases, program

from neoc.compile.errors import UsageError
from neoc.targets import standins
from neoc.targets.engines.neuron.gaps import find_gaps

TOOL = Path(standins.__file__).with_name("neuronx_cc.py")
STRICT = ["--framework", "XLA", "--target", "inf2", "--auto-cast", "none"]
needs_jax = pytest.mark.needs("jax")


def tool(*words: str | Path, cwd: Path, allowed: bool = True, fault: str = "") -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith("NEOC_")}
    env |= {"NEOC_ALLOW_STANDIN": "1"} if allowed else {}
    env |= {"NEOC_STANDIN_FAULT": fault} if fault else {}
    command = [sys.executable, "-I", str(TOOL), *map(str, words)]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def good() -> bytes:
    """A module with convolutions, pooling, a product and a softmax."""
    from neoc.targets.engines.neuron.lower import lower

    return lower(program(cnn(1))).module


@pytest.fixture
def module(good: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "module.hlo.pb"
    path.write_bytes(good)
    return path


# ---- the gate -------------------------------------------------------------------------------------


def test_it_imports_the_standard_library_alone() -> None:
    tree = ast.parse(TOOL.read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module).split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert "argparse" in names
    assert names <= sys.stdlib_module_names


def test_it_does_not_run_unless_allowed(tmp_path: Path) -> None:
    for words in (["--version"], ["list-operators", "--framework", "XLA"], ["compile", "x", *STRICT]):
        done = tool(*words, cwd=tmp_path, allowed=False)
        assert (done.returncode, done.stdout) == (3, "")
        assert "NEOC_ALLOW_STANDIN=1" in done.stderr


def test_the_seam_offers_nothing_unless_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NEOC_ALLOW_STANDIN", raising=False)
    assert standins.find("neuronx-cc") is None
    monkeypatch.setenv("NEOC_ALLOW_STANDIN", "0")
    assert standins.find("neuronx-cc") is None
    monkeypatch.setenv("NEOC_ALLOW_STANDIN", "yes")
    with pytest.raises(UsageError, match="NEOC_ALLOW_STANDIN"):
        standins.find("neuronx-cc")
    monkeypatch.setenv("NEOC_ALLOW_STANDIN", "1")
    found = standins.find("neuronx-cc")
    assert found is not None
    assert "stand-in" in found.version
    assert standins.find("no-such-tool") is None


# ---- the command line -----------------------------------------------------------------------------


@needs_jax
@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["--framework", "XLA", "--target", "inf1"], 2, "invalid choice"),
        (["--framework", "ONNX", "--target", "inf2"], 2, "invalid choice"),
        (["--framework", "XLA"], 2, "--target"),
        (["--target", "inf2"], 2, "--framework"),
        ([*STRICT, "--autocast", "all"], 2, "unrecognized"),
        ([*STRICT, "--auto-cast-typ", "bf16"], 2, "unrecognized"),
        ([*STRICT, "--auto-cast-type", "fp32"], 2, "invalid choice"),
        ([*STRICT, "--optlevel", "4"], 2, "invalid choice"),
        ([*STRICT, "--model-type", "cnn"], 2, "invalid choice"),
        ([*STRICT, "--logical-nc-config", "2"], 70, "NCC_EARG001"),
        (["other.pb", *STRICT], 2, "exactly one file"),
    ],
)
def test_the_command_line_is_strict(module: Path, words: list[str], status: int, said: str) -> None:
    done = tool("compile", module, *words, "--output", "out.neff", cwd=module.parent)
    assert done.returncode == status
    assert said in done.stderr
    assert not (module.parent / "out.neff").exists()


@needs_jax
def test_what_it_accepts_is_marked(module: Path) -> None:
    extra = ["--model-type", "transformer", "--optlevel", "1", "-lnc", "1", "--output", "out.neff"]
    done = tool("compile", module, *STRICT, *extra, cwd=module.parent)
    assert done.returncode == 0, done.stderr
    with tarfile.open(module.parent / "out.neff") as archive:
        assert archive.getnames() == ["NEOC_STANDIN.json", "hlo.pb"]
        facts = json.load(archive.extractfile("NEOC_STANDIN.json"))  # type: ignore[arg-type]
    assert facts["stand_in"] is True
    assert "cannot load it" in facts["not_a_neff"]
    assert facts["opcodes"]["convolution"] == 2
    assert standins.is_marked((module.parent / "out.neff").read_bytes())
    assert not standins.is_marked(b"NEFF of some kind" * 100)


def test_operators_are_listed_one_a_line(tmp_path: Path) -> None:
    listed = tool("list-operators", "--framework", "XLA", cwd=tmp_path).stdout.split()
    assert listed == sorted(listed)
    assert {"dot", "convolution", "reduce-window"} <= set(listed)
    assert "fft" not in listed


@needs_jax
@pytest.mark.parametrize(
    ("fault", "status", "written"),
    [("no-file", 0, None), ("empty-file", 0, 0), ("killed", -9, None), ("crash", 1, None)],
)
def test_it_fails_as_compilers_do(module: Path, fault: str, status: int, written: int | None) -> None:
    output = module.parent / "out.neff"
    done = tool("compile", module, *STRICT, "--output", output, cwd=module.parent, fault=fault)
    assert done.returncode == status
    assert (output.stat().st_size if output.exists() else None) == written


# ---- what is good and what is bad -----------------------------------------------------------------


@needs_jax
def test_good_modules_are_accepted() -> None:
    """Every tenth node case that has no gap, and a network; in this process, by the tool's own functions."""
    from neoc.targets.engines.neuron.lower import lower

    sys.path.insert(0, str(TOOL.parent))
    try:
        import neuronx_cc
    finally:
        sys.path.remove(str(TOOL.parent))
    programs = [program(case.model) for case in node_cases()[::10]]
    good = [p for p in programs if not find_gaps(p, "neuron")]
    assert len(good) >= 60
    for one in [program(cnn(2)), *good]:
        assert neuronx_cc.check(neuronx_cc.Module(lower(one).module), "inf2") == []


def test_there_are_enough_mutations() -> None:
    assert len({m.name for m in MUTATIONS}) == len(MUTATIONS) >= 60


@needs_jax
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda m: m.name)
def test_bad_modules_are_rejected(good: bytes, tmp_path: Path, mutation: Mutation) -> None:
    bad = mutation.make(good)
    assert bad != good
    (tmp_path / "bad.pb").write_bytes(bad)
    done = tool("compile", "bad.pb", *STRICT, "--output", "out.neff", cwd=tmp_path)
    assert done.returncode == 70, done.stdout + done.stderr
    assert mutation.said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out.neff").exists()


@needs_jax
def test_an_unchanged_copy_is_accepted(good: bytes, tmp_path: Path) -> None:
    """The mutator's decoding and encoding alone change nothing."""
    from hlo_mutations import decode, encode

    (tmp_path / "copy.pb").write_bytes(encode(decode(good)))
    assert tool("compile", "copy.pb", *STRICT, cwd=tmp_path).returncode == 0
