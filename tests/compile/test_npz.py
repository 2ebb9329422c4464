"""The user's data: what fits, what is several samples, and damaged or hostile archives."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from neoc.compile.contracts import Signature, TensorSpec
from neoc.compile.errors import InvalidInput, OutputError
from neoc.compile.inputs import load_data, save_npz

X = TensorSpec("x", "float32", ("N", 3))
IDS = TensorSpec("ids:0", "int64", ("N",))


def signature(*inputs: TensorSpec) -> Signature:
    return Signature(inputs, ())


BOTH = signature(X, IDS)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data.npz"


def test_one_sample(path: Path) -> None:
    x, ids = np.ones((2, 3), np.float32), np.arange(2)
    save_npz(path, {"x": x, "ids:0": ids, "labels": np.zeros(9)})
    (feed,) = load_data(path, BOTH)
    assert list(feed) == ["x", "ids:0"]
    np.testing.assert_array_equal(feed["x"], x)
    np.testing.assert_array_equal(feed["ids:0"], ids)
    assert feed["x"].flags.c_contiguous


def test_several_samples_on_an_extra_axis(path: Path) -> None:
    x = np.arange(24, dtype=np.float32).reshape(4, 2, 3)
    np.savez_compressed(path, **{"x": np.asfortranarray(x), "ids:0": np.arange(8).reshape(4, 2)})
    feeds = load_data(path, BOTH)
    assert len(feeds) == 4
    np.testing.assert_array_equal(feeds[3]["x"], x[3])
    np.testing.assert_array_equal(feeds[1]["ids:0"], [2, 3])
    scalar = signature(TensorSpec("sr", "int64", ()))
    save_npz(path, {"sr": np.array([16000, 8000])})
    assert [feed["sr"].item() for feed in load_data(path, scalar)] == [16000, 8000]
    assert all(isinstance(feed["sr"], np.ndarray) and feed["sr"].shape == () for feed in load_data(path, scalar))


def test_unknown_ranks_follow_the_others(path: Path) -> None:
    free = signature(X, TensorSpec("free", "float32", None))
    save_npz(path, {"x": np.ones((2, 2, 3), np.float32), "free": np.arange(10, dtype=np.float32).reshape(2, 5)})
    assert [feed["free"].tolist() for feed in load_data(path, free)] == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]
    save_npz(path, {"x": np.ones((2, 3), np.float32), "free": np.zeros((2, 5), np.float32)})
    assert load_data(path, free)[0]["free"].shape == (2, 5)


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"x": np.ones((2, 3), np.float32)}, "it holds 'x', and not 'ids:0'"),
        ({}, "it holds nothing"),
        ({"x": np.ones((2, 3)), "ids:0": np.arange(2)}, "dtype is float64, not float32"),
        ({"x": np.ones((2, 4), np.float32), "ids:0": np.arange(2)}, "axis 1 has size 4, not 3"),
        ({"x": np.ones((2, 3), np.float32), "ids:0": np.arange(5)}, "has size 5, elsewhere 2"),
        ({"x": np.ones((4, 2, 3), np.float32), "ids:0": np.arange(2)}, "'x' has rank 3, 'ids:0' has rank 1"),
        ({"x": np.ones((4, 2, 3), np.float32), "ids:0": np.ones((3, 2), int)}, "4 of 'x', 3 of 'ids:0'"),
        ({"x": np.ones((0, 2, 3), np.float32), "ids:0": np.ones((0, 2), int)}, "or none"),
        ({"x": np.ones((2, 2, 3), np.float32), "ids:0": np.array([[0, 1], [2, 3]], np.int32)}, "ids:0', sample 0"),
    ],
)
def test_what_does_not_fit(path: Path, arrays: dict[str, np.ndarray], reason: str) -> None:
    save_npz(path, arrays)
    with pytest.raises(InvalidInput) as caught:
        load_data(path, BOTH)
    assert reason in caught.value.why
    assert "x: float32[N,3]; ids:0: int64[N]" in caught.value.fix
    assert caught.value.exit_status == 2


def test_text(path: Path) -> None:
    words = signature(TensorSpec("words", "string", (2,)))
    for stored in (np.array(["Straße", "b"]), np.array(["Straße", "b"], object), np.array(["Straße".encode(), b"b"])):
        save_npz(path, {"words": stored})
        assert load_data(path, words)[0]["words"].tolist() == ["Straße", "b"]
        assert load_data(path, words)[0]["words"].dtype == object
    save_npz(path, {"words": np.array([b"\xff\xfe", b"b"])})
    with pytest.raises(InvalidInput, match="not UTF-8"):
        load_data(path, words)


@pytest.mark.parametrize("dtype", ["bfloat16", "float8_e4m3fn", "int4", "uint2"])
def test_dtypes_that_numpy_does_not_know(path: Path, dtype: str) -> None:
    array = np.array([[0, 1, 1], [1, 0, 1]], np.float32).astype(getattr(ml_dtypes, dtype))
    save_npz(path, {"x": array})
    (feed,) = load_data(path, signature(TensorSpec("x", dtype, (2, 3))))
    assert feed["x"].dtype == array.dtype
    np.testing.assert_array_equal(feed["x"], array)


def test_byte_order_is_not_a_dtype(path: Path) -> None:
    np.savez(path, x=np.ones((2, 3), ">f4"), **{"ids:0": np.arange(2)})
    assert load_data(path, BOTH)[0]["x"].dtype == np.dtype("<f4")


def test_saving_is_repeatable_and_takes_any_name(path: Path) -> None:
    arrays = {"file": np.ones(2), "a/b:0": np.zeros((0, 3)), "scalar": np.asarray(1.5), "self": np.array(["é"])}
    save_npz(path, arrays)
    first = path.read_bytes()
    save_npz(path, arrays)
    assert path.read_bytes() == first
    with np.load(path) as again:
        assert {name: again[name].tolist() for name in again.files} == {n: a.tolist() for n, a in arrays.items()}
        assert again["scalar"].shape == ()


def test_saving_where_there_is_no_place(tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        save_npz(tmp_path / "missing" / "x.npz", {"x": np.ones(1)})
    assert list(tmp_path.iterdir()) == []


# ---- hostile archives ------------------------------------------------------------------------------


def archive(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(f"{name}.npy", data)
    return path


def npy(shape: tuple[int, ...], descr: str = "<f4", data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    header = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode().ljust(117) + b"\n"
    return b"\x93NUMPY" + version + struct.pack("<H" if version == b"\x01\x00" else "<I", len(header)) + header + data


ONE = signature(TensorSpec("x", "float32", None))


class Trap:
    def __reduce__(self) -> tuple[object, ...]:
        return (pytest.fail, ("unpickled",))


def pickled() -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.array([Trap()], object), allow_pickle=True)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (pickled(), "pickles are never loaded"),
        (npy((1 << 40,), data=bytes(16)), "claims 4398046511104 bytes"),
        (npy((4,), data=bytes(15)), "cut short"),
        (npy((-4,), data=bytes(16)), ""),
        (npy((4,), descr="<what", data=bytes(16)), "damaged"),
        (npy((4,), data=bytes(16))[:40], "damaged"),
        (b"", "damaged"),
        (b"\x93NUMPY\x09\x00" + bytes(100), "damaged"),
        (pickle.dumps(Trap()), "damaged"),
    ],
)
def test_damaged_arrays(path: Path, data: bytes, reason: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        load_data(archive(path, x=data), ONE)
    assert reason in caught.value.why


def test_a_bomb_is_refused_before_it_is_unpacked(path: Path) -> None:
    """Sixty-four terabytes of zeros by the archive's own directory, and by the array's header."""
    archive(path, x=npy((1 << 44,), data=bytes(1 << 10)))
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02")
    data[at + 24 : at + 28] = struct.pack("<I", 0xFFFFFFFE)  # uncompressed size in the central directory
    path.write_bytes(bytes(data))
    with pytest.raises(InvalidInput):
        load_data(path, ONE)


@pytest.mark.parametrize("data", [b"", b"no archive", b"PK\x03\x04", npy((1,), data=bytes(4))])
def test_files_that_are_no_archives(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    with pytest.raises(InvalidInput, match=r"no \.npz"):
        load_data(path, ONE)
    with pytest.raises(InvalidInput, match="No such file"):
        load_data(path.with_name("missing.npz"), ONE)
    with pytest.raises(InvalidInput, match="directory"):
        load_data(path.parent, ONE)


def test_later_header_versions(path: Path) -> None:
    for version in (b"\x02\x00", b"\x03\x00"):
        data = npy((4,), data=np.float32([1, 2, 3, 4]).tobytes(), version=version)
        assert load_data(archive(path, x=data), ONE)[0]["x"].tolist() == [1, 2, 3, 4]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_damage_to_an_archive(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.npz"
    np.savez_compressed(path, **{"x": np.ones((2, 3), np.float32), "ids:0": np.arange(2)})
    damaged = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(damaged)
    try:
        feeds = load_data(path, BOTH)
    except InvalidInput:
        return
    assert feeds[0]["x"].dtype == np.float32


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(
        hnp.scalar_dtypes() | st.just(np.dtype("U3")),
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    )
)
def test_any_array_comes_back(tmp_path_factory: pytest.TempPathFactory, array: np.ndarray) -> None:
    path = tmp_path_factory.getbasetemp() / "any.npz"
    save_npz(path, {"any": array})
    with np.load(path) as again:
        np.testing.assert_array_equal(again["any"], array)
        assert again["any"].dtype == array.dtype
