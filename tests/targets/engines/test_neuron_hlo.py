"""The HLO module on the wire: read, renumbered, refused; and the preflight's rules, each on a module that breaks it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neoc.targets.engines.neuron import hlo
from neoc.targets.engines.neuron.preflight import NEWEST, examine, rule_set

pytestmark = pytest.mark.needs("jax")


def module_of(f: Callable[..., Any], *shapes: tuple[tuple[int, ...], str]) -> bytes:
    """The module of a jax function, as jax writes it."""
    import jax

    with jax.enable_x64(True):
        specs = [jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in shapes]
        lowered = jax.jit(f, keep_unused=True).trace(*specs).lower(lowering_platforms=("cpu",))
        return lowered.compiler_ir("hlo").as_serialized_hlo_module_proto()


@cache
def sample() -> bytes:
    from jax import numpy as jnp

    def f(x: Any, unused: Any, w: Any) -> Any:
        return jnp.tanh(x @ w).sum(0), (x > 0).astype("int8")

    return module_of(f, ((3, 4), "float32"), ((2,), "int64"), ((4, 5), "float32"))


def test_reads_what_the_function_is() -> None:
    module = hlo.read(sample())
    shapes = [str(p.shape) for p in module.parameters()]
    assert shapes == ["f32[3,4]", "s64[2]", "f32[4,5]"]
    assert [str(s) for s in module.results()] == ["f32[5]", "s8[3,4]"]
    assert module.used_parameters() == {0, 2}
    counts = module.opcodes()
    assert (counts["dot"], counts["tanh"], counts["reduce"], counts["compare"]) == (1, 1, 1, 1)


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        (hlo.Shape("f32", (2, 3)), 24),
        (hlo.Shape("pred", (5,)), 5),
        (hlo.Shape("bf16", (3,)), 6),
        (hlo.Shape("s4", (3,)), 2),
        (hlo.Shape("f8e4m3fn", (7,)), 7),
        (hlo.Shape("tuple", (), members=(hlo.Shape("s64"), hlo.Shape("u8", (3,)))), 11),
    ],
)
def test_bytes_of_a_shape(shape: hlo.Shape, size: int) -> None:
    assert shape.bytes == size


def test_normalised_ids_are_dense_and_the_meaning_stays() -> None:
    from neoc.targets.engines.neuron.executor import Executor

    plain = hlo.normalised(sample(), "chosen")
    module = hlo.read(plain)
    assert module.name == "chosen"
    ids = [c.id for c in module.computations] + [i.id for i in module.instructions()]
    assert sorted(ids) == list(range(1, len(ids) + 1))
    assert module.opcodes() == hlo.read(sample()).opcodes()
    random = np.random.default_rng(0)
    x, w = random.standard_normal((3, 4), np.float32), random.standard_normal((4, 5), np.float32)
    found = Executor(plain)([x, np.zeros(2, np.int64), w])
    np.testing.assert_allclose(found[0], np.tanh(x @ w).sum(0), rtol=1e-5)
    np.testing.assert_array_equal(found[1], (x > 0).astype(np.int8))


def test_normalised_keeps_no_path_of_this_machine_and_repeats() -> None:
    assert b".py" in sample()
    plain = hlo.normalised(sample(), "m")
    assert b".py" not in plain
    assert plain == hlo.normalised(sample(), "m")
    assert hlo.normalised(plain, "m") == plain


def test_loops_and_calls_are_renumbered_with_their_computations() -> None:
    from jax import lax

    from neoc.targets.engines.neuron.executor import Executor

    data = module_of(lambda x: lax.fori_loop(0, 5, lambda i, v: v * 2 + i.astype("float32"), x), ((3,), "float32"))
    plain = hlo.normalised(data, "loop")
    assert hlo.read(plain).opcodes()["while"] == 1
    x = np.float32([1, 0, -2])
    wanted = x.copy()
    for i in range(5):
        wanted = wanted * 2 + i
    np.testing.assert_array_equal(Executor(plain)([x])[0], wanted)


def test_every_truncation_is_refused() -> None:
    data = hlo.normalised(sample(), "m")
    for size in range(0, len(data) - 1, 37):
        with pytest.raises(hlo.WireError):
            hlo.read(data[:size])


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_changed_bytes_are_read_or_refused(data: st.DataObject) -> None:
    broken = bytearray(hlo.normalised(sample(), "m"))
    for _ in range(data.draw(st.integers(1, 4))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    with suppress(hlo.WireError):
        assert hlo.read(bytes(broken)).entry.instructions


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_as_a_module(data: bytes) -> None:
    with pytest.raises(hlo.WireError):
        hlo.read(data)


# ---- preflight ------------------------------------------------------------------------------------


def window(x: Any, **dilation: tuple[int, ...]) -> Any:
    from jax import lax

    return lax.reduce_window(x, np.float32(0), lax.add, (1, 2), (1, 1), "VALID", **dilation)


def convolution(x: Any, stride: int = 1, base: int = 1, kernel: int = 1) -> Any:
    from jax import lax

    w = np.ones((1, 1, 2), np.float32)
    return lax.conv_general_dilated(x, w, (stride,), [(0, 0)], lhs_dilation=(base,), rhs_dilation=(kernel,))


def scattered(x: Any, mode: str) -> Any:
    return getattr(x.at[np.array([0, 2])], mode)(1)


def jax_module(name: str) -> Any:
    import importlib

    return importlib.import_module(name)


F, S64 = "float32", "int64"
BREAKS: list[tuple[str, Callable[..., Any], tuple[tuple[int, ...], str]]] = [
    ("EVRF001", lambda x: jax_module("jax.lax").top_k(x, 2)[0], ((5,), F)),
    ("EVRF004", lambda x: (x + 0j).real, ((3,), F)),
    ("ESPP004", lambda x: x.astype("float64"), ((3,), F)),
    ("EVRF010", lambda x: convolution(x, base=2, kernel=2), ((1, 1, 9), F)),
    ("EVRF011", lambda x: convolution(x, stride=2, base=2), ((1, 1, 9), F)),
    ("EVRF015", lambda x: jax_module("jax.numpy.linalg").cholesky(x), ((3, 3), F)),
    ("EVRF016", lambda x: scattered(x, "add"), ((4,), "int32")),
    ("EVRF017", lambda x: window(x, base_dilation=(1, 2)), ((3, 9), F)),
    ("EVRF018", lambda x: window(x, window_dilation=(1, 2)), ((3, 9), F)),
    ("EVRF022", lambda x: x >> 3, ((3,), S64)),
    ("EVRF024", lambda x: jax_module("jax.numpy").broadcast_to(x, (1 << 29, 3)), ((3,), F)),
    ("EVRF035", lambda x: x @ x, ((3, 3), S64)),
]
KEEPS: list[tuple[Callable[..., Any], tuple[tuple[int, ...], str]]] = [
    (lambda x: convolution(x, base=2), ((1, 1, 9), F)),
    (lambda x: convolution(x, stride=2, kernel=2), ((1, 1, 9), F)),
    (lambda x: scattered(x, "add"), ((4,), F)),
    (lambda x: scattered(x, "set"), ((4,), "int32")),
    (window, ((3, 9), F)),
    (lambda x: x >> 3, ((3,), "int32")),
    (lambda x: x @ x, ((3, 3), "int32")),
]


def codes(f: Callable[..., Any], *shapes: tuple[tuple[int, ...], str]) -> set[str]:
    return {finding.code for finding in examine(hlo.read(module_of(f, *shapes)), rule_set())}


@pytest.mark.parametrize(("code", "f", "shape"), BREAKS, ids=[b[0] for b in BREAKS])
def test_a_module_that_breaks_a_rule_is_found(code: str, f: Callable[..., Any], shape: Any) -> None:
    assert code in codes(f, shape)


@pytest.mark.parametrize(("f", "shape"), KEEPS)
def test_a_module_that_keeps_close_to_a_rule_is_not(f: Callable[..., Any], shape: Any) -> None:
    assert codes(f, shape) == set()


def test_findings_say_what_and_where() -> None:
    (finding,) = examine(hlo.read(module_of(lambda x: window(x, window_dilation=(1, 2)), ((3, 9), F))), rule_set())
    assert str(finding) == "NCC_EVRF018: a dilated window (reduce-window f32[3,7])"
    assert finding.advice
    assert finding.is_error


def test_complex_numbers_are_a_warning() -> None:
    found = examine(hlo.read(module_of(lambda x: (x + 0j).real, ((3,), F))), rule_set())
    assert {f.is_error for f in found if f.code == "EVRF004"} == {False}


def test_the_rule_set_names_its_release() -> None:
    rules = rule_set(NEWEST)
    assert rules.name == f"SDK {NEWEST}"
    assert {r.code for r in rules.rules} >= {code for code, _, _ in BREAKS} - {"EVRF001"}
    with pytest.raises(FileNotFoundError):
        rule_set("0.1")
