"""ELF headers: of objects that the system's own tools made, and of broken ones."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neoc.compile.errors import InvalidArtifact
from neoc.targets.elf import Elf, read_elf

SOURCE = "extern double sin(double); int exported(void) { return (int)sin(1); } static int hidden(void) { return 2; }"


def shared_object(triple: str, folder: Path) -> bytes:
    source, out = folder / "a.c", folder / "a.so"
    source.write_text(SOURCE)
    command = [sys.executable, "-m", "ziglang", "cc", "-target", triple, "-shared", "-nostdlib", "-O0"]
    subprocess.run([*command, "-o", str(out), str(source)], check=True, capture_output=True)
    return out.read_bytes()


@pytest.mark.needs("ziglang")
@pytest.mark.parametrize(
    ("triple", "arch"),
    [("aarch64-linux-gnu", "aarch64"), ("x86_64-linux-gnu", "x86_64"), ("riscv64-linux-gnu", "riscv64")],
)
def test_reads_machine_and_symbols(tmp_path: Path, triple: str, arch: str) -> None:
    elf = read_elf(shared_object(triple, tmp_path))
    assert (elf.machine, elf.shared) == (arch, True)
    assert "exported" in elf.exports
    assert "hidden" not in elf.exports | elf.undefined
    assert "sin" in elf.undefined


def test_reads_this_interpreters_own_file() -> None:
    import platform

    elf = read_elf(Path(sys.executable).resolve().read_bytes())
    assert elf.machine == platform.machine()


@pytest.mark.needs("ziglang")
def test_every_truncation_is_refused(tmp_path: Path) -> None:
    data = shared_object("x86_64-linux-gnu", tmp_path)
    for size in (0, 3, 16, 63, 64, 200, len(data) // 2, len(data) - 1):
        with pytest.raises(InvalidArtifact):
            read_elf(data[:size])


@given(st.binary(max_size=400), st.booleans())
def test_any_bytes_are_read_or_refused(data: bytes, headed: bool) -> None:
    with suppress(InvalidArtifact):
        assert isinstance(read_elf((b"\x7fELF\x02\x01" if headed else b"") + data), Elf)
