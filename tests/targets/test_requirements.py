"""The matrix: machines by their cpuinfo, times what targets ask for; and what is said where they do not fit."""

from __future__ import annotations

import dataclasses
import sys
import time
import types
from pathlib import Path

import pytest
from machines import machine

from neoc.compile import registry
from neoc.compile.contracts import Requirement, Target
from neoc.compile.errors import MissingTool, WrongDevice
from neoc.targets import requirements
from neoc.targets.host import X86_LEVELS
from neoc.targets.requirements import lacks, require, unmet


def x86(level: str) -> Target:
    return Target(name=level, title=level, arch="x86_64", level=level, features=X86_LEVELS[level])


SVE = Target(name="sve", title="", arch="aarch64", features=frozenset({"asimd", "sve", "bf16"}))
DOTPROD = Target(name="dotprod", title="", arch="aarch64", features=frozenset({"asimd", "asimddp"}))
ARMV7 = Target(name="armv7", title="", arch="armv7", features=frozenset({"neon"}))
ALL = {
    **{level: x86(level) for level in X86_LEVELS},
    "aarch64": registry.load_target("aarch64"),
    "dotprod": DOTPROD,
    "sve": SVE,
    "armv7": ARMV7,
}
RUNS = {
    "zen4": {"x86-64", "x86-64-v2", "x86-64-v3", "x86-64-v4"},
    "skylake-x": {"x86-64", "x86-64-v2", "x86-64-v3", "x86-64-v4"},
    "haswell": {"x86-64", "x86-64-v2", "x86-64-v3"},
    "nehalem": {"x86-64", "x86-64-v2"},
    "cortex-a72": {"aarch64"},
    "neoverse-n1": {"aarch64", "dotprod"},
    "neoverse-v1": {"aarch64", "dotprod", "sve"},
    "rk3588": {"aarch64", "dotprod"},
    "armv7-pi3": {"armv7"},
}


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("target", ALL)
def test_a_target_runs_exactly_where_its_features_are(name: str, target: str) -> None:
    found = unmet(ALL[target].requirements(), machine(name))
    assert (not found) == (target in RUNS[name])


@pytest.mark.parametrize("level", ["x86-64", "x86-64-v3", "x86-64-v4"])
def test_the_built_in_targets_ask_for_the_psabi_features(level: str) -> None:
    asked = {r.name for r in registry.load_target(level).requirements() if r.kind == "isa"}
    assert asked == X86_LEVELS[level]


@pytest.mark.parametrize(
    ("name", "target", "sentence"),
    [
        (
            "haswell",
            "x86-64-v4",
            "its code uses avx512bw, avx512cd, avx512dq, avx512f, avx512vl, which this CPU (Intel(R) Core(TM) "
            "i7-4770 CPU @ 3.40GHz, x86-64-v3) does not have: compile the model for this machine: "
            "`neoc compile MODEL --target x86-64-v3`",
        ),
        (
            "nehalem",
            "x86-64-v3",
            "its code uses abm, avx, avx2, bmi1, bmi2, f16c, fma, movbe, xsave, which this CPU (Intel(R) Xeon(R) CPU"
            "           X5570  @ 2.93GHz, x86-64-v2) does not have: compile the model for this machine: "
            "`neoc compile MODEL --target x86-64`",
        ),
        (
            "cortex-a72",
            "x86-64",
            "it holds code for x86_64, and this machine (cortex-a72) is aarch64: compile the model for this machine: "
            "`neoc compile MODEL --target aarch64`",
        ),
        (
            "neoverse-n1",
            "sve",
            "its code uses bf16, sve, which this CPU (neoverse-n1) does not have: compile the model for this machine: "
            "`neoc compile MODEL --target graviton2`",
        ),
        (
            "armv7-pi3",
            "aarch64",
            "it holds code for aarch64, and this machine (cortex-a53) is armv7: open it on such a machine: "
            "neoc serves no target of this one yet",
        ),
    ],
)
def test_the_reason_and_the_nearest_fix(name: str, target: str, sentence: str) -> None:
    assert unmet(ALL[target].requirements(), machine(name)) == [sentence]


def test_another_architecture_is_all_that_is_said() -> None:
    asked = (*ALL["x86-64-v4"].requirements(), Requirement("package", "no-such-package", "1.0", "exact"))
    with pytest.raises(WrongDevice, match="holds code for x86_64") as caught:
        require(asked, machine("neoverse-v1"), "m.neoc")
    assert caught.value.exit_status == 3
    assert "package" not in str(caught.value)


def test_hardware_comes_before_software() -> None:
    asked = (Requirement("package", "no-such-package"), *ALL["x86-64-v4"].requirements())
    assert [lack.software for lack in lacks(asked, machine("haswell"))] == [False, True]
    with pytest.raises(WrongDevice, match="avx512f"):
        require(asked, machine("haswell"), "m.neoc")
    with pytest.raises(MissingTool, match="no-such-package"):
        require(asked, machine("zen4"), "m.neoc")
    require(ALL["x86-64-v4"].requirements(), machine("zen4"), "m.neoc")


def distribution(folder: Path, name: str, version: str) -> None:
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


@pytest.mark.parametrize(
    ("present", "wanted", "match", "command"),
    [
        ("1.32.0", "1.32.0", "exact", None),
        ("1.32.0+cpu", "1.32.0", "exact", None),
        ("1.32.1", "1.32.0", "exact", "pip install engine==1.32.0"),
        ("1.32.7", "1.32.0", "minor", None),
        ("1.33.0", "1.32.0", "minor", "pip install 'engine==1.32.*'"),
        ("2.32.0", "1.32.0", "minor", "pip install 'engine==1.32.*'"),
        ("1.320.0", "1.32.0", "minor", "pip install 'engine==1.32.*'"),
        ("0.1", "1.32.0", "any", None),
        (None, "1.32.0", "any", "pip install engine"),
        (None, "1.32.0+cpu", "exact", "pip install engine==1.32.0"),
        (None, "2026.4.0-20876-abc", "minor", "pip install 'engine==2026.4.*'"),
    ],
)
def test_versions(tmp_path: Path, present: str | None, wanted: str, match: str, command: str | None) -> None:
    if present is not None:
        distribution(tmp_path, "engine", present)
    found = lacks([Requirement("package", "engine", wanted, match)], machine("zen4"), [tmp_path])
    assert [lack.fix for lack in found] == ([] if command is None else [command])
    assert all(lack.software and (present or "not installed") in lack.reason for lack in found)


def test_packages_of_this_interpreter_are_the_default() -> None:
    assert unmet([Requirement("package", "numpy")], machine("zen4")) == []
    import numpy

    assert unmet([Requirement("package", "numpy", numpy.__version__, "exact")], machine("zen4")) == []


def test_one_command_installs_all_that_is_missing() -> None:
    asked = [Requirement("package", "missing-a", "1.2.3", "exact"), Requirement("package", "missing-b", "2.5", "minor")]
    with pytest.raises(MissingTool) as caught:
        require(asked, machine("zen4"), "m.neoc")
    assert caught.value.fix == "pip install missing-a==1.2.3 'missing-b==2.5.*'"


def test_devices() -> None:
    orin = Requirement("device", "cuda:sm_87")
    assert unmet([orin], machine("cortex-a72", devices=("cuda:sm_87",))) == []
    (sentence,) = unmet([orin], machine("zen4", devices=("cuda:sm_90",)))
    assert "needs cuda:sm_87" in sentence
    assert "here are: cuda:sm_90" in sentence
    with pytest.raises(WrongDevice, match=r"the accelerators here are: none"):
        require([Requirement("device", "neuron:inf2")], machine("zen4"), "m.neoc")


def test_an_accelerator_as_architecture_is_any_device_of_its_kind() -> None:
    asked = [Requirement("arch", "neuron")]
    assert unmet(asked, machine("zen4", devices=("neuron:trn1",))) == []
    assert "needs any neuron device" in unmet(asked, machine("zen4"))[0]


def test_devices_are_looked_up_only_where_one_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    from neoc.targets import devices

    asked = []
    monkeypatch.setattr(devices, "detect_devices", lambda: asked.append(1) or ("neuron:inf2",))
    here = dataclasses.replace(machine("zen4"), devices=None)
    assert unmet(ALL["x86-64-v3"].requirements(), here) == []
    assert asked == []
    assert unmet([Requirement("device", "neuron:inf2")], here) == []
    assert asked == [1]


def test_native_libraries_must_be_loadable() -> None:
    assert unmet([Requirement("runtime", "libc.so.6")], machine("zen4")) == []
    (lack,) = lacks([Requirement("runtime", "libneoc-has-no-such.so.9")], machine("zen4"))
    assert "libneoc-has-no-such.so.9" in lack.reason
    assert lack.software


def test_a_kind_of_a_later_version_is_refused_with_the_way_out() -> None:
    with pytest.raises(MissingTool, match=r"firmware npu, of which this version.*pip install --upgrade neoc"):
        require([Requirement("firmware", "npu", "7")], machine("zen4"), "m.neoc")


def test_the_decision_takes_less_than_20_ms() -> None:
    """Everything at once: arch, features, three packages looked up on disk."""
    asked = [
        *ALL["x86-64-v4"].requirements(),
        *(Requirement("package", n) for n in ("numpy", "onnx", "no-such-package")),
    ]
    times = []
    for _ in range(30):
        start = time.perf_counter()
        found = requirements.lacks(asked, machine("zen4"))
        times.append(time.perf_counter() - start)
        assert len(found) == 1
    assert min(times) < 0.020


@pytest.mark.parametrize(("said", "found"), [("9.8.7", "9.8.7"), ("9.8.7-build", None), (None, None)])
def test_a_package_that_is_imported_says_its_version_itself(
    monkeypatch: pytest.MonkeyPatch, said: str | None, found: str | None
) -> None:
    module = types.ModuleType("no_such_package_here")
    if said is not None:
        module.__dict__["__version__"] = said
    monkeypatch.setitem(sys.modules, "no_such_package_here", module)
    requirements._installed_here.cache_clear()
    assert requirements.installed("no-such-package-here") == found
