"""Counting instructions: a plugin of qemu's around real machine code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from small_models import cnn

from neoc.bench import tree_models
from neoc.compile import Artifact, CompileOptions, compile_model
from neoc.compile.errors import MissingTool, Unavailable
from neoc.targets import guest, instructions
from neoc.targets.instructions import Instructions, _attributed, _places, count, plugin


@pytest.fixture(scope="module")
def counting() -> None:
    """A qemu that loads plugins, for both architectures."""
    for arch in ("aarch64", "arm"):
        try:
            plugin(arch)
        except MissingTool as error:
            pytest.skip(f"needs a qemu with plugins: {error.why}")


@pytest.mark.needs("llvmlite", "xgboost", "qemu-arm", "arm-linux-gnueabihf-gcc")
def test_a_tree_kernel_takes_the_same_instructions_each_time_and_more_for_more_rows(
    counting: None, tmp_path: Path
) -> None:
    model, data = tree_models.xgboost_ensemble(tmp_path)
    options = CompileOptions(engines=("trees",), data=data)
    artifact = compile_model(model, "rasp3b", options, output=tmp_path / "m.neoc")
    _, x = tree_models.trained()
    found = [count(artifact, {"features": np.ascontiguousarray(x[:n])}) for n in (256, 256, 1024)]
    assert found[0].cpu == "cortex-a7"
    assert found[0].count > 100 * 256  # a hundred trees cannot be had for less than one instruction a tree and row
    assert abs(found[1].count - found[0].count) < found[0].count / 1000  # what starts the program differs a little
    assert 3 < found[2].count / found[0].count < 5


@pytest.mark.needs("tvm", "aarch64-linux-gnu-gcc")
def test_the_models_own_code_is_told_from_the_interpreter(
    counting: None, arm_guest: guest.Guest, tmp_path: Path
) -> None:
    onnx.save(cnn(2), tmp_path / "cnn.onnx")
    options = CompileOptions(engines=("tvm",))
    artifact = compile_model(tmp_path / "cnn.onnx", "graviton2", options, output=tmp_path / "m.neoc")
    found = count(artifact, {"x": np.ones((2, 3, 16, 16), np.float32)})
    products = 2 * 8 * 16 * 16 * 27  # of the first convolution; a vector instruction makes four at most
    assert found.by["lib.so"] > products / 4
    assert found.count == sum(n for name, n in found.by.items() if name != "the interpreter around it")


def test_what_cannot_be_counted_says_why(tmp_path: Path) -> None:
    onnx.save(cnn(2), tmp_path / "cnn.onnx")
    options = CompileOptions(engines=("onnxruntime",), race_seconds=0.2)
    artifact: Artifact = compile_model(tmp_path / "cnn.onnx", "x86-64", options, output=tmp_path / "m.neoc")
    with pytest.raises(Unavailable, match="qemu does not stand in"):
        count(artifact, {"x": np.ones((2, 3, 16, 16), np.float32)})


def test_without_a_compiler_there_is_no_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instructions.shutil, "which", lambda name: None)
    plugin.cache_clear()
    with pytest.raises(MissingTool, match="C compiler"):
        plugin("aarch64")
    plugin.cache_clear()


MAPS = """\
400000-402000 r-xp 00000000 fe:00 231 /guest/usr/bin/python3.11
5500000000-5500003000 r-xp 00000000 fe:00 9 /var/neoc-tvm-1/lib.so (deleted)
5500003000-5500004000 rw-p 00000000 00:00 0
5500010000-5500011000 r-xp 00000000 fe:00 8 /guest/lib/aarch64-linux-gnu/libm.so.6
"""


def test_pages_are_attributed_to_the_files_that_they_were_mapped_from() -> None:
    assert _places(MAPS)[1] == (0x5500000, 0x5500003, "/var/neoc-tvm-1/lib.so (deleted)")
    before = {0x400: 1000, 0x5500000: 50}
    after = {0x400: 3000, 0x5500000: 150, 0x5500002: 400, 0x5500010: 30, 0x7777: 10}
    found = _attributed(before, after, MAPS, "cortex-a72")
    assert found == Instructions(53, "cortex-a72", {"the interpreter around it": 201, "lib.so": 50, "libm.so.6": 3})
