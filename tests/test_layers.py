"""The layer rule, held over files: kernels <- compile <- targets <- bench <- cli, frameworks in one module each."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = ("kernels", "compile", "targets", "bench", "cli")
"""each may import itself and what stands before it"""
PEERS = "bench/kernels/"
"""benchmarks of the kernels against the libraries that people use today: every one of them is imported there"""
FILES = sorted(path for layer in LAYERS for path in (ROOT / layer).rglob("*.py"))

FRAMEWORKS = {
    "jax": "targets/engines/neuron/",
    "jaxlib": "targets/engines/neuron/",
    "lightgbm": ("compile/frontends/trees/lightgbm_adapter", "bench/tree"),
    "llvmlite": ("kernels/", "bench/trees_peers"),
    "numba": "kernels/",
    "onnxruntime": ("targets/engines/onnxruntime", "bench/trees"),
    "openvino": "targets/engines/openvino",
    "sklearn": ("compile/frontends/trees/skops_file", "compile/frontends/trees/sklearn_adapter", "bench/tree"),
    "h5py": "compile/frontends/keras",
    "keras": "compile/frontends/keras",
    "tensorflow": ("compile/frontends/tf_", "compile/frontends/saved_model", "compile/frontends/tflite"),
    "tf2onnx": "compile/frontends/tf_",
    "tf_keras": "compile/frontends/keras",
    "torch": (
        "compile/frontends/torch",
        "bench/torch_models.py",
        "targets/engines/neuron/runtime",
        "targets/engines/torch_neuronx",
        "targets/standins/modules/",
    ),
    "tvm": ("targets/engines/tvm", "targets/engines/cuda/schedule"),
    "xgboost": ("compile/frontends/trees/xgboost_adapter", "bench/tree"),
}
"""who alone may import a framework: the files whose name starts so (an adapter may be split); empty: nobody yet"""
AT_TOP_LEVEL = {"numba": "kernels/", "llvmlite": "kernels/", "torch": "targets/standins/modules/"}
"""frameworks that may be imported when the module is, because the whole module is about them"""
PROTOBUF = {
    "bench/cubins.py": "writes a small network",
    "bench/light_models.py": "puts random weights into the models that the onnx package carries",
    "compile/frontends/onnx_check.py": "checks a file before native code sees it",
    "compile/frontends/onnx_faults.py": "names what is wrong in it",
    "compile/frontends/onnx_normal.py": "brings the file itself into one spelling",
    "compile/frontends/onnx_schema.py": "asks onnx for the schemas that it is checked by",
    "compile/frontends/onnx_tensors.py": "checks its tensors",
    "compile/frontends/trees/conversion.py": "writes the graph of an ensemble",
    "compile/frontends/trees/graph.py": "makes it: arrays of a million numbers go into a protobuf field at once",
    "compile/frontends/trees/transforms.py": "and what stands behind it",
    "compile/passes/native_child.py": "runs onnx's native shape inference and version conversion, in a child process",
    "compile/passes/onnx_tools.py": "shape inference, version conversion and single nodes, for all passes",
    "compile/passes/tree_ensembles.py": "asks onnx for the defaults of the older tree operators",
    "compile/frontends/tf_lower.py": "asks onnx which operators there are",
    "compile/onnx_io.py": "reads and writes models",
    "compile/onnx_data.py": "reads their external data",
    "targets/engines/reference.py": "adapts onnx's reference evaluator",
    "targets/engines/reference_ops.py": "mends operators of it",
    "targets/engines/reference_recurrent.py": "and writes recurrent ones anew",
    "targets/engines/onnxruntime_gaps.py": "asks onnx for the versions of an operator",
}
"""who alone may import `onnx`, and what for: everything else works on onnx_ir"""


@dataclass(frozen=True)
class Import:
    module: str
    line: int
    relative: bool
    lazy: bool
    """inside a function, so that importing the file does not import it"""


def imports(path: Path) -> list[Import]:
    """Every import of a file: at top level, in functions, under TYPE_CHECKING, and import_module("literal")."""
    return list(_walk(ast.parse(path.read_text(encoding="utf-8")), lazy=False))


def _walk(node: ast.AST, lazy: bool) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield Import(alias.name, node.lineno, False, lazy)
    elif isinstance(node, ast.ImportFrom):
        yield Import(node.module or "", node.lineno, node.level > 0, lazy)
        if node.module == "neoc":
            for alias in node.names:
                yield Import(f"neoc.{alias.name}", node.lineno, False, lazy)
    elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in ("import_module", "__import__") and isinstance(node.args[0].value, str):
            yield Import(node.args[0].value, node.lineno, False, lazy)
    deeper = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    checking = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
    for child in ast.iter_child_nodes(node):
        yield from _walk(child, deeper or checking)


def layer_faults(path: Path, layer: str) -> list[str]:
    """What a file in `layer` imports although it must not."""
    allowed = LAYERS[: LAYERS.index(layer) + 1]
    faults = []
    for found in imports(path):
        top, *rest = found.module.split(".")
        if found.relative:
            faults.append(f"{path}:{found.line}: relative import")
        elif top in LAYERS:
            faults.append(f"{path}:{found.line}: import neoc.{found.module}, not {found.module}")
        elif top == "tests" or top == "conftest":
            faults.append(f"{path}:{found.line}: the product imports its tests")
        elif top == "neoc" and rest and rest[0] not in allowed:
            faults.append(f"{path}:{found.line}: {layer} may not import {found.module}")
    return faults


def framework_faults(path: Path, name: str) -> list[str]:
    """Frameworks that the file called `name` (relative to the root) imports in the wrong place or too early."""
    faults = []
    for found in imports(path):
        top = found.module.split(".")[0]
        if top == "onnx" and name not in PROTOBUF:
            faults.append(f"{name}:{found.line}: only {', '.join(PROTOBUF)} import onnx")
        if top not in FRAMEWORKS or name.startswith(PEERS):
            continue
        home = FRAMEWORKS[top]
        if not home or not name.startswith(home):
            places = " and ".join(home) if isinstance(home, tuple) else home or "no module so far"
            faults.append(f"{name}:{found.line}: {top} is imported in {places} alone")
        early = AT_TOP_LEVEL.get(top)
        if not found.lazy and not (early and name.startswith(early)):
            faults.append(f"{name}:{found.line}: import {top} inside the function that needs it")
    return faults


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("layer", LAYERS)
def test_layers_import_only_what_stands_before_them(layer: str) -> None:
    files = [path for path in FILES if _name(path).startswith(f"{layer}/")]
    assert files
    assert [fault for path in files for fault in layer_faults(path, layer)] == []


def test_frameworks_are_imported_lazily_by_their_adapter_alone() -> None:
    assert [fault for path in FILES for fault in framework_faults(path, _name(path))] == []


def test_no_file_names_a_place_outside_the_project() -> None:
    texts = [path for pattern in ("*.py", "*.md", "*.toml", "*.yml", "*.json") for path in _tracked(pattern)]
    outside = re.compile(r"\.\./shared|/(?:home|Users|root|work)/\w")
    faults = [f"{_name(path)}: {m[0]}" for path in texts for m in outside.finditer(path.read_text(encoding="utf-8"))]
    assert faults == []


def _tracked(pattern: str) -> list[Path]:
    skipped = {".venv", ".git", "build", "dist", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis"}
    found = (path for path in ROOT.rglob(pattern) if not skipped & set(path.relative_to(ROOT).parts))
    return [path for path in found if not path.is_symlink() and path != Path(__file__) and "typings" not in path.parts]


@pytest.mark.parametrize(
    ("layer", "code", "fault"),
    [
        ("compile", "from neoc.targets import get_target", "compile may not import neoc.targets"),
        ("compile", "def f():\n    import neoc.targets.x86", "compile may not import neoc.targets.x86"),
        ("compile", "from neoc import bench", "compile may not import neoc.bench"),
        ("kernels", "if TYPE_CHECKING:\n    from neoc.compile.errors import NeocError", "kernels may not import"),
        ("bench", "import importlib\nimportlib.import_module('neoc.cli.app')", "bench may not import neoc.cli.app"),
        ("cli", "from .app import main", "relative import"),
        ("cli", "import compile.errors", "import neoc.compile.errors, not compile.errors"),
        ("targets", "from tests.conftest import Zoo", "imports its tests"),
    ],
)
def test_the_layer_rule_sees(tmp_path: Path, layer: str, code: str, fault: str) -> None:
    path = tmp_path / "sample.py"
    path.write_text(code)
    assert any(fault in found for found in layer_faults(path, layer))


@pytest.mark.parametrize(
    ("name", "code", "fault"),
    [
        ("compile/race.py", "def f():\n    import onnxruntime as ort", "onnxruntime is imported in"),
        ("targets/engines/openvino.py", "import openvino", "inside the function"),
        ("compile/passes/dce.py", "from onnx import helper", "import onnx"),
        ("targets/engines/tvm.py", "def f():\n    import torch", "torch is imported in compile/frontends/torch"),
    ],
)
def test_the_framework_rule_sees(tmp_path: Path, name: str, code: str, fault: str) -> None:
    path = tmp_path / "sample.py"
    path.write_text(code)
    assert any(fault in found for found in framework_faults(path, name))


def test_the_framework_rule_allows_the_adapter(tmp_path: Path) -> None:
    path = tmp_path / "sample.py"
    path.write_text("def f():\n    import openvino.properties\n")
    assert framework_faults(path, "targets/engines/openvino.py") == []
    path.write_text("import numba\n")
    assert framework_faults(path, "kernels/jit.py") == []
