"""A device of another architecture: qemu behind the stand-in of ssh is a board whose processor is not this machine's.

What a device is, is asked there: qemu shows its CPU model's own /proc/cpuinfo.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import onnx
import pytest
from artifact_samples import EVIDENCE, FACTOR, MEMBERS, draft, step, variant
from remote_devices import FakeDevice, until
from small_models import cnn, reference

from neoc.compile import CompileOptions, compile_model
from neoc.compile.artifact import pack
from neoc.compile.errors import WrongDevice
from neoc.compile.registry import load_engine, load_target
from neoc.targets import guest
from neoc.targets.emulation import guest_environment
from neoc.targets.remote.book import Book
from neoc.targets.remote.link import DeviceWorker, open_on


@contextmanager
def board(folder: Path, found: guest.Guest, cpu: str) -> Iterator[FakeDevice]:
    """A device in the book whose processor is qemu's `cpu`."""
    with ExitStack() as stack:
        own = stack.enter_context(guest.own_packages())
        python = folder / "python"
        python.write_text(f'#!/bin/sh\nexec {" ".join(found.command(cpu))} {found.python} "$@"\n')
        python.chmod(0o755)
        device = FakeDevice(folder)
        device.write(**guest_environment(found, own))
        device.in_book(str(python))
        yield device


@pytest.fixture(autouse=True)
def _config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEOC_ALLOW_STANDIN", "1")
    monkeypatch.setenv("NEOC_CONFIG_DIR", str(tmp_path / "config"))


def test_a_board_says_what_it_is_and_gets_nothing_for_a_greater_core(arm_guest: guest.Guest, tmp_path: Path) -> None:
    """SVE code for a Cortex-A72 is refused here, by what the board said of itself; nothing was sent."""
    needs = [requirement.as_dict() for requirement in load_target("graviton3").requirements()]
    only = variant(step({FACTOR: next(iter(MEMBERS))})) | {"requirements": needs}
    path = pack(tmp_path / "m.neoc", draft(only), MEMBERS, EVIDENCE).path
    sent: list[str] = []
    with board(tmp_path, arm_guest, "cortex-a72") as device:
        with DeviceWorker(Book.of_user().get("fake")) as worker:
            assert (worker.host.arch, worker.host.cpu) == ("aarch64", "cortex-a72")
            assert not worker.host.has("sve")
        with pytest.raises(WrongDevice, match=r"bf16.*sve.*\(cortex-a72\) does not have"):
            open_on("fake", path, progress=lambda stage, detail: sent.append(detail))
        assert sent == []
        assert until(lambda: device.sessions == [])


@pytest.mark.slow
@pytest.mark.needs("tvm")
@pytest.mark.parametrize("engine", ["tvm", "onnxruntime"])
def test_an_engine_there_computes_what_the_source_does(arm_guest: guest.Guest, tmp_path: Path, engine: str) -> None:
    """TVM's artifact goes the same way as any other: the worker's protocol serves it, and no RPC server is needed."""
    if reason := load_engine(engine).missing():
        pytest.skip(reason)
    onnx.save(cnn(2), tmp_path / "cnn.onnx")
    artifact = compile_model(
        tmp_path / "cnn.onnx", "rasp4b", CompileOptions(engines=(engine,)), output=tmp_path / "cnn.neoc"
    )
    answers = []
    with board(tmp_path, arm_guest, "cortex-a72") as device:
        with open_on("fake", artifact.path) as session:
            for seed in (0, 1):
                x = np.random.default_rng(seed).standard_normal((2, 3, 16, 16), np.float32)
                found = session.run({"x": x})
                for name, wanted in zip(("y", "z"), reference(cnn(2), {"x": x}), strict=True):
                    np.testing.assert_allclose(found[name], wanted, rtol=1e-4, atol=1e-5)
                answers.append(found["y"])
        assert until(lambda: device.sessions == [])
    assert np.abs(answers[0] - answers[1]).max() > 0.01
