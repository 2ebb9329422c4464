"""NVIDIA targets: their names, what they ask of a machine, and what fits their memory."""

from __future__ import annotations

import pytest
from onnx import helper
from small_models import cnn, model_of, program, tensor

from neoc.compile.contracts import Numerics
from neoc.compile.errors import WrongDevice
from neoc.compile.registry import load_engine
from neoc.targets import all_targets, get_target, nvidia, requirements
from neoc.targets.engines.cuda.memory import memory_gaps, usable_bytes
from neoc.targets.engines.cuda.occupancy import LIMITS
from neoc.targets.host import HostFacts

GPUS = {
    "t4": 75, "v100": 70, "a10": 86, "a100": 80, "l4": 89, "h100": 90, "rtx4090": 89, "jetson-orin": 87,
    "jetson-xavier": 72, "jetson-tx2": 62, "jetson-tx1": 53, "jetson-nano": 53,
}  # fmt: skip


def machine_with(sm: int, arch: str = "x86_64") -> HostFacts:
    return HostFacts(arch, "a processor", frozenset(), 2, 2, 2**34, (f"cuda:sm_{sm}",))


@pytest.mark.parametrize(("name", "sm"), GPUS.items())
def test_each_chip_names_its_compute_capability(name: str, sm: int) -> None:
    target = get_target(name)
    assert (target.arch, target.level, target.fact("sm")) == ("nvidia", f"sm_{sm}", sm)
    assert sm in LIMITS
    assert target.fact("host_arch") == ("aarch64" if name.startswith("jetson") else "x86_64")
    assert target.bandwidth is not None
    assert all(figure.source.startswith("NVIDIA") for figure in (*target.peak_flops.values(), target.bandwidth))
    for engine in target.engines:
        assert load_engine(engine).serves(target)


def test_all_of_them_are_registered() -> None:
    assert {t.name for t in all_targets() if t.arch == "nvidia"} == set(GPUS)


@pytest.mark.parametrize(
    ("neo", "target"),
    [
        ("ml_g4dn", "t4"),
        ("ml_p3", "v100"),
        ("jetson_nano", "jetson-nano"),
        ("jetson_tx1", "jetson-tx1"),
        ("jetson_tx2", "jetson-tx2"),
        ("jetson_xavier", "jetson-xavier"),
    ],
)
def test_neo_names_lead_to_them(neo: str, target: str) -> None:
    assert get_target(neo).name == target


@pytest.mark.parametrize("name", GPUS)
def test_a_machine_with_another_gpu_is_refused_with_the_reason(name: str) -> None:
    target = get_target(name)
    needs = target.requirements()
    assert requirements.unmet(needs, machine_with(GPUS[name])) == []
    for other in sorted(set(GPUS.values()) - {GPUS[name]}):
        with pytest.raises(
            WrongDevice, match=f"it needs cuda:sm_{GPUS[name]}, and the accelerators here are: cuda:sm_{other}"
        ):
            requirements.require(needs, machine_with(other), "m.neoc")


def test_it_is_executed_where_the_gpu_is_and_else_not(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, t4 = load_engine("cuda-trees"), get_target("t4")
    monkeypatch.setattr(nvidia, "machine", lambda: "x86_64")
    monkeypatch.setattr(nvidia, "cuda_devices", lambda: {"cuda:sm_75"})
    assert t4.verifiable(engine) == (Numerics.EXECUTED, "")
    assert get_target("l4").verifiable(engine)[0] is not Numerics.EXECUTED
    assert get_target("jetson-orin").verifiable(engine)[0] is not Numerics.EXECUTED
    monkeypatch.setattr(nvidia, "cuda_devices", lambda: set())
    numerics, why = t4.verifiable(engine)
    assert numerics is not Numerics.EXECUTED
    assert "no NVIDIA T4 is attached to this machine" in why


# ---- memory ----------------------------------------------------------------------------------


def test_a_model_that_a_nano_cannot_hold_is_a_gap_there_and_none_on_an_orin() -> None:
    """3.4 GiB of values: less than the 4 GB of the board, more than its system leaves."""
    elements = int(1.7 * 2**30 / 4)
    node = helper.make_node("Relu", ["x"], ["y"])
    subject = program(model_of([node], [tensor("x", [elements])], [tensor("y", [elements])]))
    nano, orin = get_target("jetson-nano"), get_target("jetson-orin")
    (gap,) = memory_gaps(subject, nano, "cuda")
    assert "it needs at least 3.40 GiB" in gap.reason
    assert "Jetson Nano has 3.00 GiB" in gap.reason
    assert gap in load_engine("cuda").gaps(subject, nano)
    assert memory_gaps(subject, orin, "cuda") == ()
    assert memory_gaps(program(cnn(2)), nano, "cuda") == ()
    assert usable_bytes(get_target("t4")) == get_target("t4").memory_bytes
