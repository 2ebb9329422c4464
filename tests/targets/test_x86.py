"""x86-64 targets: what a level promises, what `host` resolves to, and how far a run on this machine counts."""

from __future__ import annotations

import pytest

from neoc.compile.contracts import Numerics, Target
from neoc.compile.errors import Unavailable, UsageError
from neoc.compile.registry import load_engine
from neoc.targets import x86
from neoc.targets.host import X86_LEVELS, HostFacts

HASWELL = X86_LEVELS["x86-64-v3"] | {"aes", "rdrand"}
SKYLAKE = X86_LEVELS["x86-64-v4"] | {"aes"}
ZEN4 = SKYLAKE | {"avx512_bf16", "avx512_vnni", "gfni"}


def facts(features: frozenset[str], arch: str = "x86_64") -> HostFacts:
    return HostFacts(arch, "Some CPU", frozenset(features), 8, 4, 16 << 30)


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    def pretend(features: frozenset[str], arch: str = "x86_64") -> None:
        monkeypatch.setattr(x86, "detect", lambda: facts(features, arch))

    return pretend


class _Fixed:
    """An engine whose build fixes the instructions."""

    name = "fixed"
    dispatches = False


def numerics(target: Target, engine: str = "onnxruntime") -> Numerics:
    return target.verifiable(load_engine(engine))[0]


def test_levels_are_the_psabi_ones() -> None:
    v3, v4 = x86.x86_64_v3(), x86.x86_64_v4()
    assert {"avx2", "fma", "f16c", "bmi2", "movbe", "abm"} <= v3.features
    assert not any(feature.startswith("avx512") for feature in v3.features)
    assert v4.features - v3.features == {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
    assert x86.x86_64().features < v3.features < v4.features
    for target in (x86.x86_64(), v3, v4):
        assert (target.arch, target.level, target.name) == ("x86_64", target.name, target.level)
        needs = {(need.kind, need.name) for need in target.requirements()}
        assert ("arch", "x86_64") in needs
        assert {name for kind, name in needs if kind == "isa"} == target.features


def test_a_lower_level_is_not_executed_by_an_engine_that_looks_at_the_cpu(on) -> None:  # type: ignore[no-untyped-def]
    on(ZEN4)
    assert numerics(x86.x86_64_v4()) is Numerics.EXECUTED
    for engine in ("onnxruntime", "openvino"):
        found, why = x86.x86_64_v3().verifiable(load_engine(engine))
        assert found is Numerics.UNCHECKED
        assert engine in why
        assert "x86-64-v4 code" in why
        assert "x86-64-v3" in why
    assert x86.x86_64_v3().verifiable(_Fixed())[0] is Numerics.EXECUTED  # type: ignore[arg-type]
    assert load_engine("tvm").dispatches is False


def test_the_same_level_is_executed(on) -> None:  # type: ignore[no-untyped-def]
    on(HASWELL)
    assert x86.x86_64_v3().verifiable(load_engine("onnxruntime")) == (Numerics.EXECUTED, "")
    assert numerics(x86.x86_64()) is Numerics.UNCHECKED
    found, why = x86.x86_64_v4().verifiable(_Fixed())  # type: ignore[arg-type]
    assert found is Numerics.UNCHECKED
    assert "lacks avx512bw" in why


def test_another_architecture(on) -> None:  # type: ignore[no-untyped-def]
    on(frozenset({"asimd", "fp"}), "aarch64")
    assert x86.x86_64().verifiable(load_engine("reference")) == (Numerics.UNCHECKED, "this machine is aarch64")
    with pytest.raises(UsageError, match="'host' is not served on aarch64"):
        x86.host()


def test_host_is_resolved_before_anything_is_keyed(on) -> None:  # type: ignore[no-untyped-def]
    on(ZEN4)
    host = x86.host()
    assert (host.name, host.level, host.cores, host.memory_bytes) == ("x86-64-v4", "x86-64-v4", 4, 16 << 30)
    assert host.features == X86_LEVELS["x86-64-v4"] | {"avx512_bf16", "avx512_vnni"}
    assert host.aliases == ()
    assert "Some CPU" in host.title
    assert numerics(host) is Numerics.EXECUTED
    on(HASWELL)
    assert (x86.host().name, x86.host().features) == ("x86-64-v3", X86_LEVELS["x86-64-v3"])
    on(frozenset({"sse"}))
    with pytest.raises(Unavailable, match="not even x86-64"):
        x86.host()


def test_bf16_is_offered_on_a_host_that_has_it(on) -> None:  # type: ignore[no-untyped-def]
    from programs import program_of

    from neoc.compile.contracts import EngineOptions

    program = program_of("g (float[2] x) => (float[2] y) { y = Relu (x) }")
    asked = EngineOptions(precision="bf16")
    on(ZEN4)
    assert [v.id for v in load_engine("openvino").variants(program, x86.host(), asked)] == ["latency-bf16"]
    assert load_engine("openvino").variants(program, x86.x86_64_v4(), asked) == ()
    on(SKYLAKE)
    assert load_engine("openvino").variants(program, x86.host(), asked) == ()


def test_this_machine() -> None:
    """No pretending: what runs the tests serves itself and can execute its own level."""
    host = x86.host()
    assert host.level in X86_LEVELS
    assert host.cores is not None
    assert host.cores >= 1
    assert host.features >= X86_LEVELS[host.level]
    assert numerics(host) is Numerics.EXECUTED


def test_descriptions_survive_json() -> None:
    for target in (x86.x86_64(), x86.x86_64_v4(), x86.host()):
        assert Target.from_dict(target.as_dict()).as_dict() == target.as_dict()
