"""An outside package: installed by pip, found by its entry points, used through the contracts; and its two pages."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from small_models import model_of, reference, tensor

ROOT = Path(__file__).parents[1]
PLUGIN = ROOT / "tests" / "plugin"
PAGES = ("adding-a-target.md", "adding-an-engine.md")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the plugin installed into it. Nothing is fetched."""
    source, site = tmp_path_factory.mktemp("source") / "plugin", tmp_path_factory.mktemp("site")
    shutil.copytree(PLUGIN, source, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "build"))
    flags = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", *flags, "--target", str(site), str(source)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return site


def python(site: Path, code: str, *arguments: str) -> str:
    """Standard output of `code`, run by an interpreter that sees the plugin."""
    done = in_site(site, "-c", code, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def in_site(site: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(site)}
    return subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True, check=False)


def mlp() -> onnx.ModelProto:
    random = np.random.default_rng(0)
    weights = {
        "w1": random.standard_normal((6, 8), np.float32),
        "b1": random.standard_normal(8, np.float32),
        "w2": random.standard_normal((3, 8), np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["h"]),
        helper.make_node("Add", ["h", "b1"], ["a"]),
        helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("Gemm", ["r", "w2"], ["y"], transB=1, alpha=0.5),
        helper.make_node("Softmax", ["y"], ["z"]),
    ]
    return model_of(nodes, [tensor("x", ["N", 6])], [tensor("y", ["N", 3]), tensor("z", ["N", 3])], **weights)


def test_the_plugin_is_not_here_without_being_installed() -> None:
    done = subprocess.run([sys.executable, "-c", "import neoc_plugin_example"], capture_output=True, check=False)
    assert done.returncode != 0


def test_the_registry_lists_and_loads_both(site: Path) -> None:
    code = """
from neoc.compile import registry
from neoc.targets import get_target
engine, target = registry.load_engine("numpy-mlp"), registry.load_target("example-board")
assert "numpy-mlp" in registry.engine_names() and "example-board" in registry.target_names()
assert {"onnxruntime", "x86-64"} <= {*registry.engine_names(), *registry.target_names()}
print(engine.serves(target), engine.serves(registry.load_target("inf2")), get_target("example-board").title)
"""
    assert python(site, code) == "True False Example Board\n"


def test_it_builds_and_runs_through_the_contracts(site: Path, tmp_path: Path) -> None:
    source = mlp()
    onnx.save(source, tmp_path / "mlp.onnx")
    x = np.random.default_rng(1).standard_normal((4, 6), np.float32)
    np.save(tmp_path / "x.npy", x)
    code = """
import sys
from pathlib import Path
import numpy as np
import onnx_ir
from neoc.compile import registry
from neoc.compile.contracts import EngineOptions
from neoc.compile.errors import FeedError
from neoc.compile.program import Program, Provenance
folder = Path(sys.argv[1])
program = Program(onnx_ir.load(folder / "mlp.onnx"), Provenance("onnx", "", "", "mlp.onnx"))
engine, target = registry.load_engine("numpy-mlp"), registry.load_target("example-board")
assert engine.missing() is None and engine.gaps(program, target) == ()
(variant,) = engine.variants(program, target, EngineOptions())
built = engine.build(program, target, variant, folder)
members = {name: memoryview(path.read_bytes()) for name, path in built.members.items()}
with engine.open(members, program.signature, variant, 1, None) as session:
    x = np.load(folder / "x.npy")
    np.savez(folder / "found.npz", **session.run({"x": x}))
    assert list(session.run({"x": x}, ["z"])) == ["z"]
    for feeds, outputs in (({"x": x.astype(float)}, None), ({"x": x}, ["q"])):
        try:
            session.run(feeds, outputs)
        except FeedError as error:
            print(error.exit_status)
print(*target.verifiable(engine))
"""
    assert python(site, code, str(tmp_path)).split() == ["2", "2", "executed"]
    found, wanted = np.load(tmp_path / "found.npz"), reference(source, {"x": x})
    np.testing.assert_allclose(found["y"], wanted[0], rtol=1e-5)
    np.testing.assert_allclose(found["z"], wanted[1], rtol=1e-5)


def test_its_gaps_are_told_by_check(site: Path, tmp_path: Path) -> None:
    source = mlp()
    source.graph.node[2].op_type = "Gelu"
    source.opset_import[0].version = 20
    onnx.save(source, tmp_path / "gelu.onnx")
    done = in_site(site, "-m", "neoc.cli", "check", str(tmp_path / "gelu.onnx"), "--target", "example-board", "--json")
    assert done.returncode in (0, 1), done.stderr
    assert "only dense layers are known" in done.stdout
    assert "Gelu" in done.stdout


def test_neoc_compiles_for_it_and_runs_the_artifact(site: Path, tmp_path: Path) -> None:
    onnx.save(mlp(), tmp_path / "mlp.onnx")
    words = [
        "compile",
        str(tmp_path / "mlp.onnx"),
        "--target",
        "example-board",
        "-o",
        str(tmp_path / "mlp.neoc"),
        "--json",
    ]
    done = in_site(site, "-m", "neoc.cli", *words)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)
    assert '"numpy-mlp"' in done.stdout
    assert '"executed"' in done.stdout
    x = np.random.default_rng(2).standard_normal((3, 6), np.float32)
    np.savez(tmp_path / "in.npz", x=x)
    run = ["run", str(tmp_path / "mlp.neoc"), "--data", str(tmp_path / "in.npz"), "-o", str(tmp_path / "out.npz")]
    done = in_site(site, "-m", "neoc.cli", *run)
    assert done.returncode == 0, done.stderr
    found = np.load(tmp_path / "out.npz")
    np.testing.assert_allclose(found["y"].reshape(3, 3), reference(mlp(), {"x": x})[0], rtol=1e-4, atol=1e-5)


# ---- the pages -------------------------------------------------------------------------------------------------


def shown(page: str) -> dict[str, str]:
    """File -> the block of the page that follows its name."""
    text = (ROOT / "docs" / page).read_text()
    return dict(re.findall(r"^`(tests/plugin/[^`]+)`:\n\n```\w+\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize("page", PAGES)
def test_the_page_shows_the_files_as_they_are(page: str, request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--update-golden"):
        rewrite(ROOT / "docs" / page)
    blocks = shown(page)
    assert blocks
    for path, block in blocks.items():
        assert block == (ROOT / path).read_text(), f"{page} differs from {path}: run with --update-golden"


def test_every_file_of_the_plugin_is_shown() -> None:
    files = {
        str(p.relative_to(ROOT)) for p in PLUGIN.rglob("*") if p.suffix in (".py", ".toml") and "build" not in p.parts
    }
    assert files - {path for page in PAGES for path in shown(page)} == {"tests/plugin/neoc_plugin_example/__init__.py"}


def rewrite(page: Path) -> None:
    def block(match: re.Match[str]) -> str:
        return f"{match[1]}{(ROOT / match[2]).read_text()}```"

    pattern = re.compile(r"^(`(tests/plugin/[^`]+)`:\n\n```\w+\n).*?^```$", re.MULTILINE | re.DOTALL)
    page.write_text(pattern.sub(block, page.read_text()))
