"""Every registered target against every host of tests/data/hosts.toml: who runs what, and how fast and why not.

The matrix grows by itself: a target that a package registers is in it. What is expected comes from the raw texts, and
for the targets that are named in RUNS from a list written by hand. `make host-matrix` prints it.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import hosts
import pytest
from artifact_samples import EVIDENCE, FACTOR, MEMBERS, draft, step, variant

from neoc.compile.artifact import Artifact, pack
from neoc.compile.contracts import Target
from neoc.compile.errors import WrongDevice
from neoc.compile.registry import broken, load_target, target_names
from neoc.targets.host import HostFacts
from neoc.targets.opening import admit_chip

HOSTS = {name: hosts.host(name) for name in hosts.TEXTS}
TARGETS = [name for name in target_names() if name not in broken("neoc.targets") and name != "host"]
UNAME = {"x86_64": "x86_64", "aarch64": "aarch64", "armv7": "armv7l"}
X86 = {name for name, text in hosts.TEXTS.items() if text["arch"] == "x86_64"}
V4 = {"xeon-skylake", "xeon-ice-lake", "epyc-zen4", "g4dn-t4", "p4d-a100", "trn1"}
ARM64 = {name for name, text in hosts.TEXTS.items() if text["arch"] == "aarch64"}
RUNS = {
    "x86-64": X86,
    "x86-64-v3": X86 - {"nehalem"},
    "x86-64-v4": V4,
    "aarch64": ARM64,
    "rasp4b": ARM64,
    "rasp5": ARM64 - {"pi4", "rk3399", "jetson-nano", "jetson-xavier"},
    "rk3399": ARM64 - {"pi4"},
    "graviton2": ARM64 - {"pi4", "rk3399", "jetson-nano", "jetson-xavier"},
    "graviton3": {"graviton3", "graviton4"},
    "graviton4": {"graviton4"},
    "rasp3b": {"pi3-32bit", "rk3288"},
    "rk3288": {"pi3-32bit", "rk3288"},
    "inf2": {"inf2"},
    "trn1": {"trn1"},
    "t4": {"g4dn-t4"},
    "a10": {"g5-a10"},
    "l4": {"g6-l4"},
    "rtx4090": {"g6-l4"},
    "a100": {"p4d-a100"},
    "h100": {"p5-h100"},
    "v100": {"p3-v100"},
    "jetson-orin": {"jetson-orin"},
    "jetson-xavier": {"jetson-xavier"},
    "jetson-nano": {"jetson-nano"},
    "jetson-tx1": {"jetson-nano"},
    "jetson-tx2": set[str](),
}
"""target -> the hosts that run it. By what code needs: another chip of the same instructions counts."""
BOUND_S = 0.020


def artifact_for(folder: Path, target: Target) -> Artifact:
    """An artifact that asks for what the target asks for."""
    needs = [requirement.as_dict() for requirement in target.requirements()]
    only = variant(step({FACTOR: next(iter(MEMBERS))})) | {"requirements": needs}
    return pack(folder / f"{target.name}.neoc", draft(only), MEMBERS, EVIDENCE)


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    folder = tmp_path_factory.mktemp("matrix")
    return {name: artifact_for(folder, load_target(name)) for name in TARGETS}


def refusal(artifact: Artifact, host: HostFacts) -> WrongDevice | None:
    try:
        admit_chip(artifact, artifact.variant(), host)
    except WrongDevice as error:
        return error
    return None


def expected(target: Target, name: str) -> bool:
    """From the raw texts: the architecture, every feature as a word, the device."""
    text, words = hosts.TEXTS[name], hosts.raw_words(name)
    for need in target.requirements():
        if need.kind == "arch" and text["arch"] != UNAME.get(need.name, need.name):
            return False
        if need.kind == "isa" and need.name not in words:
            return False
        if need.kind == "device" and need.name not in device_of(text):
            return False
    return True


def device_of(text: dict[str, str]) -> set[str]:
    """As the vendors' tables have it: compute capability of a Tegra, family of a Neuron device."""
    tegra = {"tegra210": "53", "tegra186": "62", "tegra194": "72", "tegra234": "87"}
    found = {f"cuda:sm_{sm}" for soc, sm in tegra.items() if soc in text.get("device_tree", "")}
    found |= {"cuda:sm_" + line.split(", ")[1].replace(".", "") for line in text.get("nvidia_smi", "").splitlines()}
    return found | {f"neuron:{text['neuron'].strip().lower()}" for _ in [0] if "neuron" in text}


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_runs_on_exactly_the_hosts_that_have_what_it_needs(artifacts: dict[str, Artifact], name: str) -> None:
    runs = {host for host, facts in HOSTS.items() if refusal(artifacts[name], facts) is None}
    assert runs == {host for host in HOSTS if expected(load_target(name), host)}
    if name in RUNS:
        assert runs == RUNS[name]


@pytest.mark.parametrize("name", TARGETS)
def test_every_refusal_has_a_reason_and_a_way_out(artifacts: dict[str, Artifact], name: str) -> None:
    for host, facts in HOSTS.items():
        error = refusal(artifacts[name], facts)
        if error is None:
            continue
        assert error.exit_status == 3
        assert error.what == "the artifact is for another chip"
        assert facts.cpu in error.why or "accelerators here are" in error.why, (name, host)
        assert error.fix, (name, host)


def test_a_refusal_takes_less_than_20_ms(artifacts: dict[str, Artifact]) -> None:
    """From the file to the reason, as a user waits for it: the artifact is opened anew. Some 0.4 ms each when idle."""
    taken = []
    for artifact in artifacts.values():
        for facts in HOSTS.values():
            start = time.perf_counter()
            refused = refusal(Artifact.open(artifact.path), facts)
            if refused is not None:
                taken.append(time.perf_counter() - start)
    assert len(taken) > 100
    assert statistics.median(taken) < BOUND_S


def test_no_two_hosts_are_the_same_text() -> None:
    assert len({(text["cpuinfo"], str(sorted(text.items()))) for text in hosts.TEXTS.values()}) == len(hosts.TEXTS)
    assert {facts.arch for facts in HOSTS.values()} == {"x86_64", "aarch64", "armv7"}


@pytest.mark.parametrize(
    ("name", "cpu", "level", "devices"),
    [
        ("pi4", "cortex-a72", "aarch64", ()),
        ("pi5", "cortex-a76", "aarch64", ()),
        ("graviton4", "neoverse-v2", "aarch64", ()),
        ("rk3288", "cortex-a17", "armv7", ()),
        ("rk3399", "cortex-a53+cortex-a72", "aarch64", ()),
        ("epyc-zen4", "AMD EPYC 9R14", "x86-64-v4", ()),
        ("epyc-zen3", "AMD EPYC 7R13 Processor", "x86-64-v3", ()),
        ("haswell", "Intel(R) Xeon(R) CPU E5-2676 v3 @ 2.40GHz", "x86-64-v3", ()),
        ("g4dn-t4", "Intel(R) Xeon(R) Platinum 8259CL CPU @ 2.50GHz", "x86-64-v4", ("cuda:sm_75",)),
        ("p5-h100", "AMD EPYC 7R13 Processor", "x86-64-v3", ("cuda:sm_90",)),
        ("jetson-orin", "cortex-a78ae", "aarch64", ("cuda:sm_87",)),
        ("jetson-xavier", "carmel", "aarch64", ("cuda:sm_72",)),
        ("jetson-nano", "cortex-a57", "aarch64", ("cuda:sm_53",)),
        ("inf2", "AMD EPYC 7R13 Processor", "x86-64-v3", ("neuron:inf2",)),
    ],
)
def test_what_the_texts_say(name: str, cpu: str, level: str, devices: tuple[str, ...]) -> None:
    facts = HOSTS[name]
    assert (facts.cpu, facts.level, facts.devices) == (cpu, level, devices)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("NVIDIA H100 80GB HBM3, 9.0\nTesla T4, 7.5\n", {"cuda:sm_90", "cuda:sm_75"}),
        ("NVIDIA RTX 6000, Blackwell, 12.0", {"cuda:sm_120"}),
        ("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.", set()),
        ("Graphics Device, [N/A]", set()),
        ("", set()),
    ],
)
def test_nvidia_smi(text: str, found: set[str]) -> None:
    from neoc.targets.devices import smi_devices

    assert smi_devices(text) == found
