"""A source of another framework -> the Program of the ONNX file that its front end wrote.

Converters run in a worker process: what they do to themselves loses only them. Results are cached by content, beside
the builds, since an export takes up to a minute and the same source is compiled for several targets.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from neoc.compile.cache import BuildCache
from neoc.compile.errors import InternalError, InvalidModel, OutputError
from neoc.compile.frontends.contract import GRAPH, Converted, FrontEnd, Request
from neoc.compile.frontends.onnx import load as load_onnx
from neoc.compile.options import CompileOptions
from neoc.compile.own_code import code_digest
from neoc.compile.program import Program, Provenance, Source
from neoc.compile.settings import Settings

_FACTS = "converted.json"


def load_converted(front_end: FrontEnd, request: Request, options: CompileOptions) -> Program:
    """The source as a Program whose `source.graph` is the converted file. Raises what frontends.load says."""
    digest = source_digest(request.path)
    folder, facts, keeper = _converted(front_end, request, options, digest)
    program = load_onnx(folder / GRAPH, request.inputs)
    assert program.source is not None
    source = Source(request.path, program.source.bound, front_end.name, folder / GRAPH, request, keepers=(keeper,))
    return replace(
        program,
        provenance=Provenance(facts.framework, facts.version, digest, request.path.name),
        source=source,
        notes=(*facts.notes, *program.notes),
    )


def source_digest(path: Path) -> str:
    """sha256 of a file's bytes, or of a folder's names and files in name order. Raises InvalidModel."""
    state = hashlib.sha256()
    try:
        for file in [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file()):
            if file != path:
                state.update(f"{file.relative_to(path).as_posix()}\0{file.stat().st_size}\0".encode())
            with file.open("rb") as stream:
                while block := stream.read(1 << 20):
                    state.update(block)
    except OSError as error:
        raise InvalidModel(
            "the model cannot be read",
            where=str(path),
            why=error.strerror or str(error),
            fix="check the path and its permissions",
        ) from error
    return state.hexdigest()


def _converted(
    front_end: FrontEnd, request: Request, options: CompileOptions, digest: str
) -> tuple[Path, Converted, object]:
    """(folder of the ONNX file, what the converter says, what keeps the folder)."""
    settings = Settings.read()
    key = _key(front_end, request, digest)
    # What a factory reads beside its own file nobody knows, so nothing can be known of it by content.
    cache = None
    if options.use_cache and not request.factory:
        cache = BuildCache(settings.cache_dir / "builds", settings.cache_limit_bytes)
        entry = cache.get(key)
        if entry is not None:
            return entry, _read_facts(entry), cache
    front_end.require()
    scratch = tempfile.TemporaryDirectory(prefix="neoc-convert-", ignore_cleanup_errors=True)
    folder = Path(scratch.name)
    facts = _run(front_end, request, folder, options, settings)
    if not (folder / GRAPH).is_file():
        raise InternalError(f"front end {front_end.name} reported success without {GRAPH}", where=str(request.path))
    (folder / _FACTS).write_text(json.dumps(facts.as_dict(), sort_keys=True))
    if cache is not None:
        try:
            return cache.put(key, folder), facts, cache
        except OutputError:  # a full or locked cache costs the next compilation time, not this one its result
            pass
    return folder, facts, scratch


def _run(front_end: FrontEnd, request: Request, folder: Path, options: CompileOptions, settings: Settings) -> Converted:
    if not front_end.isolated:
        return front_end.load_adapter().convert(request, folder)
    from neoc.compile.worker import Worker

    timeout = options.timeout_s or settings.worker_timeout_s
    with Worker(f"convert {front_end.name}", timeout_s=timeout) as worker:
        return Converted.from_dict(worker.convert(front_end.name, request.as_dict(), folder))


def _key(front_end: FrontEnd, request: Request, digest: str) -> dict[str, str]:
    """What a conversion depends on, part by part."""
    facts = request.as_dict()
    key = {
        "neoc": version("neoc"),
        "engine": f"convert {front_end.name}",
        "source": digest,
        "inputs": json.dumps(facts["inputs"] if front_end.binds else {}, sort_keys=True),
        "options": json.dumps(facts["options"], sort_keys=True),
        "trust_pickle": str(request.trust_pickle),
        # A conversion made by an older state of the converters is not this one's.
        "converter": code_digest(("neoc.compile.frontends",)),
    }
    return key | {f"tools.{name}": tool for name, tool in front_end.tools().items()}


def _read_facts(folder: Path) -> Converted:
    return Converted.from_dict(json.loads((folder / _FACTS).read_text()))
