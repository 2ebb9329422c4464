"""Python pickles as sources: named without being loaded, unpickled only where the user trusts them, in a worker."""

from __future__ import annotations

import pickletools
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

from neoc.compile.errors import InvalidModel
from neoc.compile.frontends.recognise import is_pickle, is_safetensors, is_torchscript
from neoc.compile.options import CompileOptions, InputBinding

_TENSOR_PARTS = ("collections OrderedDict", "torch._utils _rebuild_", "torch._tensor _rebuild_", "torch.serialization ")
"""what pickles of plain tensors call"""
_UNREADABLE = (ValueError, OSError, LookupError, MemoryError, OverflowError, RuntimeError, zipfile.BadZipFile)
"""what reading the operations of a damaged pickle ends in"""
_MOST_OPERATIONS = 2_000_000
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
"""torch.serialization.MAGIC_NUMBER"""
_LEGACY_HEADER = 3
"""torch's files of before 1.6 begin with a magic number, a protocol number and facts of the machine, each pickled"""

_CODE = (
    "write the code that builds the module into a Python file: a function without arguments that makes it, loads the "
    "weights and returns it; then: neoc compile FILE.py:FUNCTION --input x=N,3,224,224"
)


def refuse_weights(path: Path) -> None:
    """Raises InvalidModel for weights without a graph: state dicts and safetensors, by the names that they hold."""
    if path.is_file() and is_safetensors(path):
        raise InvalidModel(
            "the file holds weights, and no graph to compile",
            where=path.name,
            why="it is a safetensors file: tensors by name",
            fix=_CODE,
        )
    if is_pickled(path) and not _strangers(path):
        raise InvalidModel(
            "the file holds weights, and no graph to compile",
            where=path.name,
            why="it is a pickle of plain values and tensors, such as a state dict",
            fix=_CODE,
        )


def is_pickled(path: Path) -> bool:
    """Whether the file is a pickle, or PyTorch's archive around one. A TorchScript archive is not."""
    return path.is_file() and is_pickle(path) and not is_torchscript(path)


def refusal(path: Path) -> InvalidModel:
    shown = ", ".join(_strangers(path)[:4])
    return InvalidModel(
        "the file is a Python pickle, which is not unpickled: it could run any code",
        where=path.name,
        why=f"it calls {shown}" if shown else "its contents cannot be told without loading it",
        fix="if you trust whoever made it, say so with --trust-pickle; better, save it in a format without code: "
        "torch.export.save, Booster.save_model, skops.io.dump",
    )


def unpickled(path: Path, inputs: Mapping[str, InputBinding], options: CompileOptions) -> tuple[Path, object]:
    """(the object saved as a file that a front end reads, what keeps that file). Loaded and saved in a worker.

    Raises what loading the object, and saving it, ends in: InvalidModel, InvalidInput, MissingTool, WorkerFailure.
    """
    from neoc.compile.settings import Settings
    from neoc.compile.worker import Worker

    folder = tempfile.TemporaryDirectory(prefix="neoc-pickle-", ignore_cleanup_errors=True)
    timeout = options.timeout_s or Settings.read().worker_timeout_s
    with Worker("unpickle", timeout_s=timeout) as worker:
        name = worker.unpickle(path, {n: [list(b.shape), b.dtype] for n, b in inputs.items()}, Path(folder.name))
    return Path(folder.name) / name, folder


def resave(path: Path, inputs: Mapping[str, InputBinding], folder: Path) -> Path:
    """In the worker: unpickle, then write what came out as its own front end would."""
    from neoc.compile.frontends.objects import save_into

    try:
        found = _load(path)
    except Exception as error:  # a pickle raises whatever its classes do
        raise InvalidModel(
            "the pickle cannot be loaded",
            where=path.name,
            why=f"{type(error).__name__}: {' '.join(str(error).split())[:400]}",
            fix="the packages whose classes it holds must be installed here, in the versions that wrote it",
        ) from error
    example = None
    if isinstance(found, tuple) and len(found) == 2:  # (module, example inputs), as a factory may give
        found, example = found
    return save_into(found, folder, example, inputs)


def _load(path: Path) -> object:
    import pickle

    if zipfile.is_zipfile(path) or _is_legacy_torch(path):
        from neoc.compile.frontends.torch_trust import load_trusted

        return load_trusted(path)
    with path.open("rb") as file:
        return pickle.load(file)


# ---- what a pickle calls, told from its operations alone ---------------------------------------


def _is_legacy_torch(path: Path) -> bool:
    with path.open("rb") as file:
        for operation, argument, _ in pickletools.genops(file):
            if operation.name.startswith("LONG"):
                return bool(argument == _LEGACY_MAGIC)
            if operation.name not in ("PROTO", "FRAME"):
                return False
    return False


def _strangers(path: Path) -> list[str]:
    """Functions and classes that the pickle calls beside those of plain tensors; ['an unknown class'] if unreadable."""
    try:
        return [name.replace(" ", ".") for name in _calls(path) if not _of_tensors(name)]
    except _UNREADABLE:
        return ["an unknown class"]


def _of_tensors(name: str) -> bool:
    module, _, attribute = name.partition(" ")
    return name.startswith(_TENSOR_PARTS) or (module == "torch" and attribute[:1].isalpha() and _is_kind(attribute))


def _is_kind(attribute: str) -> bool:
    """torch.FloatStorage, torch.float32 ...: what is named by a storage or a dtype."""
    kinds = ("float", "bfloat", "int", "uint", "bool", "complex", "double", "half", "long", "short")
    return attribute.endswith("Storage") or attribute.startswith(kinds) or attribute in ("Size", "device")


def _calls(path: Path) -> list[str]:
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            return list(dict.fromkeys(_calls_of(file)))
    with zipfile.ZipFile(path) as archive:
        name = next(n for n in archive.namelist() if n.rsplit("/", 1)[-1] == "data.pkl")
        with archive.open(name) as file:
            return list(dict.fromkeys(_calls_of(file)))


def _calls_of(file: IO[bytes]) -> Iterator[str]:
    """`module name` of every global in the stream's pickles: those of a legacy torch file come one after another."""
    strings: list[str] = []
    left = _MOST_OPERATIONS
    for number in range(_LEGACY_HEADER + 1):
        first = 0
        for operation, argument, _ in pickletools.genops(file):
            left -= 1
            if left < 0:
                raise ValueError("too long a pickle")
            if operation.name == "GLOBAL" or operation.name == "INST":
                yield str(argument)
            elif operation.name == "STACK_GLOBAL":
                yield " ".join(strings[-2:]) if len(strings) > 1 else "an unknown class"
            elif "UNICODE" in operation.name:
                strings.append(str(argument))
            elif "LONG" in operation.name and not first and isinstance(argument, int):
                first = argument
        if number == 0 and first != _LEGACY_MAGIC:  # not torch's magic number: one pickle is all
            return
