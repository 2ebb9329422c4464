"""What a file is, by its first bytes. Nothing is ever unpickled, unpacked or imported to find out."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path

_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    # offset, bytes, what it is; the formats' own documents name these
    (0, b"PK\x03\x04", "a zip archive"),
    (0, b"PK\x05\x06", "an empty zip archive"),
    (0, b"\x1f\x8b", "gzip data (unpack it first)"),
    (0, b"BZh", "bzip2 data (unpack it first)"),
    (0, b"\xfd7zXZ\x00", "xz data (unpack it first)"),
    (0, b"\x28\xb5\x2f\xfd", "zstd data (unpack it first)"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (257, b"ustar", "a tar archive"),
    (0, b"\x89HDF\r\n\x1a\n", "HDF5 data, such as a Keras .h5 model"),
    (0, b"\x93NUMPY", "a numpy array (.npy)"),
    (4, b"TFL3", "a TensorFlow Lite model"),
    (4, b"ORTM", "a model in onnxruntime's own .ort format; give the ONNX file that it was made from"),
    (0, b"GGUF", "a GGUF model"),
    (0, b"\x7fELF", "an ELF program or library"),
    (0, b"MZ", "a Windows program or library"),
    (0, b"%PDF", "a PDF document"),
    (0, b"\x89PNG", "a PNG image"),
    (0, b"\xff\xd8\xff", "a JPEG image"),
    (0, b"RIFF", "a RIFF file (sound or image)"),
    (0, b"version https://git-lfs", "a Git LFS pointer, not the model itself; run `git lfs pull`"),
)

_HEAD_BYTES = 4096

# Fields of onnx.ModelProto: number -> wire type (0 varint, 2 length-delimited); onnx/onnx.proto.
_MODEL_FIELDS = {1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, 7: 2, 8: 2, 14: 2, 20: 2, 25: 2, 26: 2}
_GRAPH, _LENGTH = 7, 2

_MOST_FIELDS = 100_000
"""at a model's top level: each local function is one"""


def is_onnx(path: Path) -> bool:
    """Whether the file is an ONNX protobuf, or is named .onnx and looks like nothing else (so: a damaged one)."""
    if not path.is_file():
        return False
    if _is_whole_model(path):
        return True
    return path.suffix.lower() == ".onnx" and _known(path) is None


def is_exported_program(path: Path) -> bool:
    """Whether the file is an archive of torch.export.save: a graph as JSON, weights beside it."""
    leaves = _leaves(path)
    return "archive_format" in leaves or "serialized_exported_program.json" in leaves


def is_torchscript(path: Path) -> bool:
    """Whether the file is an archive of torch.jit.save: code beside its constants."""
    names = _names(path)
    return "constants.pkl" in _last(names) and any("/code/" in name for name in names)


def is_xgboost(path: Path) -> bool:
    """Whether the file is an XGBoost model: a JSON or UBJSON object with a learner in it."""
    head = _head(path).removeprefix(b"\xef\xbb\xbf").lstrip()
    if not head.startswith(b"{"):
        return False
    return b'"learner"' in head or (b"learner" in head[:64] and head[1:2] in b"LlIiU#$")


def is_lightgbm(path: Path) -> bool:
    """Whether the file is a LightGBM model in its text form, whose first line is `tree`."""
    return _head(path).lstrip().startswith((b"tree\n", b"tree\r\n"))


def is_skops(path: Path) -> bool:
    """Whether the file is an archive of skops.io.dump: a schema beside arrays."""
    return "schema.json" in _names(path)


def _head(path: Path) -> bytes:
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        return file.read(_HEAD_BYTES)


def is_pickle(path: Path) -> bool:
    """Whether the file is a Python pickle of protocol 2 or newer, or PyTorch's archive around one."""
    if "data.pkl" in _leaves(path):
        return True
    with path.open("rb") as file:
        return _is_pickle(file.read(3))


def is_safetensors(path: Path) -> bool:
    with path.open("rb") as file:
        return _is_safetensors(file.read(9), path.stat().st_size)


def _last(names: Iterable[str]) -> set[str]:
    return {name.rsplit("/", 1)[-1] for name in names}


def _leaves(path: Path) -> set[str]:
    """Names of a zip archive's members without their folders; none for anything else."""
    return _last(_names(path))


def _names(path: Path) -> list[str]:
    """Names of a zip archive's members; none for anything else."""
    if not path.is_file():
        return []
    with path.open("rb") as file:
        if file.read(4) != b"PK\x03\x04":
            return []
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return []


def describe(path: Path) -> str:
    """What the file is, in words that follow 'the file is'."""
    return _known(path) or ("no ONNX protobuf and of no kind that neoc knows" if path.suffix else "of no known kind")


def describe_folder(path: Path) -> str:
    """What a folder is, in words that follow 'it is'."""
    if (path / "saved_model.pb").exists():
        return "a TensorFlow SavedModel folder, which neoc does not read yet"
    return "a folder"


def _known(path: Path) -> str | None:
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if not head:
        return "empty"
    for offset, magic, kind in _MAGIC:
        if head.startswith(magic, offset):
            return _zip_kind(path) if kind == "a zip archive" else kind
    if _is_pickle(head):
        return "a Python pickle (such as an old PyTorch .pt), which is never unpickled: it could run any code"
    if _is_safetensors(head, path.stat().st_size):
        return "a safetensors file: weights without a graph"
    return _text_kind(head)


def _zip_kind(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return "a damaged zip archive"
    leaves = {name.rsplit("/", 1)[-1] for name in names}
    if "manifest.json" in names and path.suffix == ".neoc":
        return "a neoc artifact, which is compiled already"
    if {"data.pkl", "version"} <= leaves:
        return "a PyTorch archive (.pt, .pt2)"
    if "config.json" in names and "model.weights.h5" in names:
        return "a Keras model (.keras)"
    if names and all(name.endswith(".npy") for name in names):
        return "an archive of numpy arrays (.npz): data, not a model"
    models = sorted(name for name in names if name.endswith(".onnx"))[:3]
    return "a zip archive" + (f" that holds {', '.join(models)}; unpack it first" if models else "")


def _is_pickle(head: bytes) -> bool:
    """Protocol 2 to 5 begins with PROTO; a legacy PyTorch file is a pickle too."""
    return len(head) > 2 and head[0] == 0x80 and head[1] in (2, 3, 4, 5) and not head[2:3].isdigit()


def _is_safetensors(head: bytes, size: int) -> bool:
    """Eight bytes of length, then a JSON object (huggingface/safetensors, 'Format')."""
    return head[8:9] == b"{" and 2 <= int.from_bytes(head[:8], "little") <= size - 8


def _text_kind(head: bytes) -> str | None:
    try:
        # The head may end inside a character of up to four bytes.
        text = head[:-4].decode() if len(head) == _HEAD_BYTES else head.decode()
    except UnicodeDecodeError:
        return None
    if any(c < " " and c not in "\t\r\n\f" for c in text):
        return None
    start = text.lstrip()
    if start.startswith(("{", "[")):
        return "JSON text" + (", such as an XGBoost model" if '"learner"' in text else "")
    if start.startswith("<?xml"):
        return "XML text" + (", an OpenVINO model" if "<net " in text else "")
    if start.lower().startswith(("<!doctype html", "<html")):
        return "an HTML page, most likely a failed download"
    if (start.startswith("<") and "ir_version" in text[:200]) or start.startswith("ir_version:"):
        return "ONNX in its text form; convert it with onnx.parser or google.protobuf.text_format first"
    if start.startswith("tree\n") or start.startswith("tree\r"):
        return "text, a LightGBM model"
    return "text"


def _is_whole_model(path: Path) -> bool:
    """Whether the top level of the file reads to its very end as a ModelProto with a graph. Skips over contents."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        at, graphs = 0, 0
        for _ in range(_MOST_FIELDS):
            if at >= size:
                break
            file.seek(at)
            head = file.read(20)
            key, used = _varint(head, 0)
            number, wire = key >> 3, key & 7
            if _MODEL_FIELDS.get(number) != wire:
                return False
            value, used = _varint(head, used)
            if used < 0:
                return False
            graphs += number == _GRAPH
            at += used + (value if wire == _LENGTH else 0)
        return at == size and graphs > 0


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """(value, next position); position -1 where the data is no varint of at most 64 bits."""
    value = 0
    for i in range(at, min(at + 10, len(data))):
        value |= (data[i] & 0x7F) << 7 * (i - at)
        if not data[i] & 0x80:
            return value, i + 1
    return 0, -1
