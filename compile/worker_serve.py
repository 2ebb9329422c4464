"""What a worker does with the messages it gets. One request, one answer, in order.

    build        program folder, target, variant, folder -> Built
    open         members, signature, variant, threads, device -> session number, its inputs and outputs, seconds;
                 with a target in `rehearsed_for`, the session that the engine has in place of its chip
    open_source  ONNX file, signature -> the same, from an engine that is an oracle
    open_framework  front end, request, signature -> the same, from the source's own framework
    convert      front end, request, folder -> what the front end says of the ONNX file that it wrote there
    open_plain   ONNX file, signature, threads -> the same: the engine as its own documentation has it
    open_artifact  .neoc file, threads, device, options -> the same
    put          values -> number under which feeds are kept
    run          session, values -> values
    time         session, number of kept feeds, iterations -> ns of each
    drive        session, numbers of kept feeds, driver 'module:function', options -> what the driver gives
    memory       -> rss, uss, peak bytes
    close        session

An error becomes a message too, and the worker lives on; what kills the process is the other side's to tell.
"""

from __future__ import annotations

import gc
import mmap
import os
import select
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from neoc.compile import errors, registry, wire
from neoc.compile.contracts import FeedCheck, Feeds, Place, Session, Signature, Target, Variant
from neoc.compile.errors import InternalError, NeocError, WorkerRefused
from neoc.compile.measure import time_calls
from neoc.compile.wire import Message, WireError

LONGEST_MESSAGE = 4000
"""characters of an engine's own error text; some print a whole graph"""


def serve(reading: int, writing: int, operations: Operations | None = None, idle_s: float | None = None) -> bool:
    """Answer until 'quit', the end of the stream, or `idle_s` without a request; whether it was 'quit'.

    Raises WireError for bytes that are no message.

    `operations`: what is answered, for a process that does other than what a worker does.
    """
    operations = operations or Operations()
    operations.tell = partial(_write, writing)
    _write(writing, Message("hello", _facts() | operations.facts()))
    while True:
        if idle_s is not None and not select.select([reading], [], [], idle_s)[0]:
            return False
        try:
            message = wire.decode(partial(_fill, reading))
        except EOFError:
            return False
        if message.kind == "quit":
            return True
        try:
            _write(writing, operations.answer(message))
        except WireError as error:  # an output that no message can carry
            _write(writing, _error(error))
        except BrokenPipeError:
            return False


def _facts() -> dict[str, Any]:
    try:
        neoc = version("neoc")
    except PackageNotFoundError:
        neoc = "unknown"
    machine = os.uname()
    return {
        "protocol": wire.PROTOCOL,
        "neoc": neoc,
        "python": ".".join(map(str, sys.version_info[:3])),
        "executable": sys.executable,
        "platform": sys.platform,
        "machine": machine.machine,
        "byteorder": sys.byteorder,
        "pid": os.getpid(),
    }


def _fill(pipe: int, view: memoryview) -> None:
    got = 0
    while got < view.nbytes:
        count = os.readv(pipe, [view[got:]])
        if count == 0:
            raise EOFError
        got += count


def _write(pipe: int, message: Message) -> None:
    for buffer in wire.encode(message):
        sent = 0
        while sent < buffer.nbytes:
            sent += os.write(pipe, buffer[sent:])


def _error(error: BaseException) -> Message:
    """The error as a message: a NeocError by the nearest class that the other side knows, all else in words."""
    trace = "".join(traceback.format_exception(error))[-LONGEST_MESSAGE:]
    if not isinstance(error, NeocError):
        text = _words(error)
        return Message("error", {"type": type(error).__name__, "text": text[:LONGEST_MESSAGE], "trace": trace})
    known = next(kind for kind in type(error).__mro__ if getattr(errors, kind.__name__, None) is kind)
    facts = {**error.as_dict(), "kind": known.__name__}
    return Message("error", {"neoc": facts, "type": type(error).__name__, "text": str(error), "trace": trace})


def _words(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"the engine tried to end the process with status {error.code}"
    try:
        return str(error)
    except Exception as broken:  # whatever an engine's exception does when it is asked for its words
        return f"its message cannot be shown ({type(broken).__name__})"


@dataclass
class _Open:
    session: Session
    maps: dict[str, memoryview]
    """the members' bytes: they stay valid while the session lives"""
    ran: bool = False
    plain: Callable[[Feeds], object] | None = None
    """what is timed in place of the session's run: nothing of neoc may stand between an engine and its clock"""


class PlainSession(Session):
    """An engine as its own documentation has it, with names put on its outputs."""

    def __init__(self, call: Callable[[Feeds], Any], signature: Signature) -> None:
        self.inputs, self.outputs = signature.inputs, signature.outputs
        self._call: Callable[[Feeds], Any] | None = call
        self._check = FeedCheck(signature.inputs)

    def run(self, feeds: Feeds, outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        self._check.check(feeds)
        if self._call is None:
            raise WorkerRefused("running was not tried", why="the session was closed")
        results = self._call(feeds)
        named = {spec.name: np.array(results[i]) for i, spec in enumerate(self.outputs)}
        return named if outputs is None else {name: named[name] for name in outputs}

    def close(self) -> None:
        self._call = None


@dataclass
class Operations:
    """The sessions and feeds that this process holds, by number."""

    sessions: dict[int, _Open] = field(default_factory=dict)
    kept: dict[int, Mapping[str, np.ndarray]] = field(default_factory=dict)
    tell: Callable[[Message], None] = field(default=lambda message: None)
    """sends a message before the answer: how far a long operation is"""
    _count: int = 0

    def facts(self) -> dict[str, Any]:
        """What the process says of itself beside what every worker says."""
        return {}

    def table(self) -> dict[str, Callable[[Message], Message]]:
        """Kind of message -> what answers it."""
        return {
            "build": self._build,
            "open": self._open,
            "open_source": self._open_source,
            "open_framework": self._open_framework,
            "convert": self._convert,
            "unpickle": self._unpickle,
            "open_plain": self._open_plain,
            "open_artifact": self._open_artifact,
            "put": self._put,
            "run": self._run,
            "time": self._time,
            "drive": self._drive,
            "memory": self._memory,
            "close": self._close,
        }

    def answer(self, message: Message) -> Message:
        operations = self.table()
        try:
            if message.kind not in operations:
                raise InternalError(f"a worker was asked to {message.kind!r}, which it does not know")
            return operations[message.kind](message)
        except (Exception, SystemExit) as error:
            return _error(error)

    def _build(self, message: Message) -> Message:
        from neoc.compile.program import Program

        body = message.body
        folder = Path(body["folder"])
        engine = registry.load_engine(body["engine"])
        variant, target = Variant.from_dict(body["variant"]), Target.from_dict(body["target"])
        built = engine.build(Program.load(Path(body["program"])), target, variant, folder)
        for name, path in built.members.items():
            if not path.resolve().is_relative_to(folder.resolve()) or not path.is_file():
                raise InternalError(
                    f"engine {engine.name} reported a member that is not a file in its folder",
                    where=f"member {name!r}",
                    why=str(path),
                )
        return Message("built", built.as_dict(folder))

    def _open(self, message: Message) -> Message:
        body = message.body
        engine = registry.load_engine(body["engine"])
        signature, variant = Signature.from_dict(body["signature"]), Variant.from_dict(body["variant"])
        maps = {name: map_file(Path(path)) for name, path in body["members"].items()}
        places = {name: Place(Path(body["members"][name]), 0, maps[name].nbytes) for name in body.get("mapped", ())}
        start = time.perf_counter()
        if body["rehearsed_for"] is None and places:
            session = engine.open_mapped(maps, places, signature, variant, body["threads"], body["device"])
        elif body["rehearsed_for"] is None:
            session = engine.open(maps, signature, variant, body["threads"], body["device"])
        else:
            session = engine.rehearse(maps, signature, variant, Target.from_dict(body["rehearsed_for"]))
        return self._opened(_Open(session, maps), time.perf_counter() - start)

    def _open_source(self, message: Message) -> Message:
        body = message.body
        engine = registry.load_engine(body["engine"])
        start = time.perf_counter()
        session = engine.open_source(Path(body["source"]), Signature.from_dict(body["signature"]))
        return self._opened(_Open(session, {}), time.perf_counter() - start)

    def _open_framework(self, message: Message) -> Message:
        from neoc.compile.frontends import by_name
        from neoc.compile.frontends.contract import Request

        body = message.body
        adapter = by_name(body["front_end"]).load_adapter()
        start = time.perf_counter()
        session = adapter.open_source(Request.from_dict(body["request"]), Signature.from_dict(body["signature"]))
        return self._opened(_Open(session, {}), time.perf_counter() - start)

    def _convert(self, message: Message) -> Message:
        from neoc.compile.frontends import by_name
        from neoc.compile.frontends.contract import Request

        body = message.body
        adapter = by_name(body["front_end"]).load_adapter()
        return Message("converted", adapter.convert(Request.from_dict(body["request"]), Path(body["folder"])).as_dict())

    def _unpickle(self, message: Message) -> Message:
        from neoc.compile.frontends.pickles import resave
        from neoc.compile.options import InputBinding

        body = message.body
        inputs = {name: InputBinding(tuple(shape), dtype) for name, (shape, dtype) in body["inputs"].items()}
        return Message("unpickled", {"name": resave(Path(body["path"]), inputs, Path(body["folder"])).name})

    def _open_plain(self, message: Message) -> Message:
        body = message.body
        engine = registry.load_engine(body["engine"])
        start = time.perf_counter()
        call = engine.plain_call(Path(body["source"]), body["threads"])
        session = PlainSession(call, Signature.from_dict(body["signature"]))
        return self._opened(_Open(session, {}, plain=call), time.perf_counter() - start)

    def _open_artifact(self, message: Message) -> Message:
        body = message.body
        start = time.perf_counter()
        session = registry.opener()(
            Path(body["path"]), threads=body["threads"], device=body["device"], options=body["options"]
        )
        return self._opened(_Open(session, {}), time.perf_counter() - start)

    def _opened(self, entry: _Open, seconds: float) -> Message:
        number = self._number()
        self.sessions[number] = entry
        # What lives now lives as long as the session: the collector need not look at it during measurements.
        gc.collect()
        gc.freeze()
        signature = Signature(tuple(entry.session.inputs), tuple(entry.session.outputs))
        facts = {"session": number, "signature": signature.as_dict(), "open_s": seconds, "stamp": entry.session.stamp}
        declared = getattr(entry.session.raw, "declared", None)
        return Message("opened", facts if declared is None else facts | {"raw": declared})

    def _put(self, message: Message) -> Message:
        for number in message.body["drop"]:
            self.kept.pop(number, None)
        number = self._number()
        self.kept[number] = message.values
        return Message("kept", {"feeds": number})

    def _run(self, message: Message) -> Message:
        entry = self._entry(message)
        start = time.perf_counter()
        outputs = entry.session.run(message.values, message.body["outputs"])
        seconds = time.perf_counter() - start
        first, entry.ran = not entry.ran, True
        return Message("ran", {"first_run_s": seconds if first else None}, outputs)

    def _time(self, message: Message) -> Message:
        entry = self._entry(message)
        feeds = self.kept[message.body["feeds"]]
        if entry.plain is not None:
            call: Callable[[], object] = partial(entry.plain, feeds)
        else:
            call = partial(entry.session.run, feeds, message.body["outputs"])
        times = time_calls(call, message.body["iterations"])
        first, entry.ran = not entry.ran, True
        return Message("timed", {"first_run_s": float(times[0]) / 1e9 if first else None}, {"ns": times})

    def _drive(self, message: Message) -> Message:
        """A load of the benchmark harness, run where the session is: no pipe stands between it and the engine."""
        entry = self._entry(message)
        body = message.body
        driver = _driver(body["driver"])
        call = entry.plain if entry.plain is not None else entry.session.run
        facts, values = driver(call, [self.kept[number] for number in body["feeds"]], body["options"], entry.session)
        entry.ran = True
        return Message("driven", facts, values)

    def _memory(self, message: Message) -> Message:
        return Message("memory", memory_facts())

    def _close(self, message: Message) -> Message:
        entry = self.sessions.pop(message.body["session"], None)
        if entry is not None:
            entry.session.close()
            gc.unfreeze()
        return Message("closed")

    def _entry(self, message: Message) -> _Open:
        return self.sessions[message.body["session"]]

    def _number(self) -> int:
        self._count += 1
        return self._count


def _driver(name: str) -> Callable[..., tuple[dict[str, Any], dict[str, np.ndarray]]]:
    """'module:function' -> (call, feeds, options, session) -> (JSON-able facts, arrays). Raises WorkerRefused."""
    module, _, attribute = name.partition(":")
    try:
        found: Callable[..., tuple[dict[str, Any], dict[str, np.ndarray]]] = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise WorkerRefused(f"there is no driver {name!r} in the worker's environment", why=str(error)) from error
    return found


def map_file(path: Path) -> memoryview:
    """The file's bytes, mapped read-only. An empty file cannot be mapped and needs not."""
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            return memoryview(b"")
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def memory_facts(root: Path = Path("/proc/self")) -> dict[str, int]:
    """Bytes of this process: rss, uss (what only it holds) and the peak of rss; its threads. Source: proc(5).

    Not getrusage: its ru_maxrss starts at what the parent held when it forked.
    """
    status = _kibibytes(root / "status")
    pages = _kibibytes(root / "smaps_rollup")
    return {
        "rss": status["VmRSS"],
        "uss": sum(pages.get(name, 0) for name in ("Private_Clean", "Private_Dirty", "Private_Hugetlb")),
        "peak": status["VmHWM"],
        "threads": sum(1 for _ in (root / "task").iterdir()),
    }


def _kibibytes(path: Path) -> dict[str, int]:
    rows: Sequence[list[str]] = [line.split() for line in path.read_text().splitlines()]
    return {row[0].rstrip(":"): int(row[1]) * 1024 for row in rows if len(row) == 3 and row[2] == "kB"}
