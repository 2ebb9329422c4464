"""The linkers of shared objects: which one is taken, and what it makes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tree_models import drawn

from neoc.compile.errors import MissingTool
from neoc.kernels.trees.finish import Finish
from neoc.kernels.trees.isa import isa_of
from neoc.kernels.trees.layout import layout_of
from neoc.kernels.trees.standalone import Export, object_file
from neoc.targets import linkers
from neoc.targets.elf import read_elf


@pytest.fixture(autouse=True)
def _anew() -> Iterator[None]:
    linkers.linker_for.cache_clear()
    yield
    linkers.linker_for.cache_clear()


def having(monkeypatch: pytest.MonkeyPatch, programs: tuple[str, ...], zig: bool) -> None:
    """A machine with these programs, with zig or not."""
    monkeypatch.setattr(linkers.shutil, "which", lambda name: f"/bin/{name}" if name in programs else None)
    monkeypatch.setattr(linkers.importlib.util, "find_spec", lambda name: object() if zig else None)
    monkeypatch.setattr(linkers, "machine", lambda: "x86_64")


@pytest.mark.parametrize(
    ("programs", "zig", "triple", "name"),
    [
        (("gcc", "aarch64-linux-gnu-gcc"), True, "aarch64-linux-gnu", "aarch64-linux-gnu-gcc"),
        (("gcc",), True, "x86_64-linux-gnu", "gcc"),
        (("cc",), True, "x86_64-linux-gnu", "cc"),
        (("gcc",), True, "aarch64-linux-gnu", "zig"),
        (("gcc",), False, "aarch64-linux-gnu", None),
    ],
)
def test_a_cross_compiler_comes_first_and_zig_last(
    programs: tuple[str, ...], zig: bool, triple: str, name: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    having(monkeypatch, programs, zig)
    found = linkers.linker_for(triple)
    assert (found and found.name) == name


@pytest.mark.needs("llvmlite", "ziglang.__main__")
def test_zig_links_for_32_bit_arm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linkers.shutil, "which", lambda name: None)
    linker = linkers.linker_for("arm-linux-gnueabihf")
    assert linker is not None
    assert linker.command[0] == sys.executable
    e, isa = drawn(3, trees=2, height=2), isa_of("armv7", ())
    finish = Finish("float32", 1, (), (0,))
    (tmp_path / "m.o").write_bytes(object_file(layout_of(e, isa), e, finish, [Export("m_predict", "margin")], isa))
    linker.shared(tmp_path / "m.so", [tmp_path / "m.o"])
    elf = read_elf((tmp_path / "m.so").read_bytes())
    assert (elf.machine, elf.shared) == ("armv7", True)
    assert elf.exports >= {"m_predict"}
    assert elf.undefined == {"malloc", "free"}
    assert set(linker.tools()) == {"ziglang"}


def test_a_linker_that_fails_is_told_with_its_own_words(tmp_path: Path) -> None:
    failing = linkers.Linker("false", (sys.executable, "-c", "import sys; sys.exit('no room')"))
    with pytest.raises(MissingTool, match="no room"):
        failing.shared(tmp_path / "m.so", [tmp_path / "m.o"])
    silent = linkers.Linker("true", (sys.executable, "-c", ""))
    with pytest.raises(MissingTool, match="exit status 0"):
        silent.shared(tmp_path / "m.so", [tmp_path / "m.o"])
