"""The neoc side of a worker: an engine in a child process, so that whatever it does, it loses only itself.

    with Worker("candidate", memory_bytes=4 << 30, timeout_s=60) as worker:
        built = worker.build("openvino", program_folder, target, variant, folder)
        session = worker.open("openvino", built.members, signature, variant, threads=1, device=None)
        session.run(feeds)
        worker.time(feeds, 100)      # ns per run, measured inside the child

Messages go through the child's pipes (wire.py); the child is bounded and never left behind (child.py); its own side is
worker_main.py and worker_serve.py. `prefix` puts a program before the interpreter: an emulator, or ssh to a device.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from neoc.compile import errors, wire
from neoc.compile.child import ChildProcess, Watch
from neoc.compile.contracts import Built, FeedCheck, Feeds, Gap, Session, Signature, Target, Variant
from neoc.compile.errors import MissingTool, NeocError, WorkerCrashed, WorkerFailure, WorkerOutOfMemory, WorkerRefused
from neoc.compile.settings import Settings
from neoc.compile.wire import Message, WireError
from neoc.compile.worker_main import DIE_WITH_PARENT, OWN_GROUP

START_S = 60.0
"""bound on the start of a child: an interpreter and numpy, on a loaded machine"""
FAREWELL_S = 1.0
KEPT_FEEDS = 16
"""sets of feeds that a child keeps for `time` and `drive`"""


class Worker:
    """A child process that builds, opens, runs and times with one engine.

    name: what errors call it. interpreter: the Python that runs it, None: this one (NEOC_PYTHON); another one needs
    neoc's core installed in its environment. memory_bytes: bound on the resident memory of the child and all that it
    starts. timeout_s: bound on every single call. None takes NEOC_WORKER_MEMORY_BYTES and NEOC_WORKER_TIMEOUT_S.
    env: variables set on top of neoc's own. start_s: bound on the start; an emulated interpreter takes its time.

    The process starts with the first call, which raises MissingTool where that cannot be. Every call raises
    WorkerCrashed, WorkerTimeout or WorkerOutOfMemory where the process was lost (it is then gone for good),
    WorkerRefused where the engine raised an error of its own, and neoc's own errors as themselves; after these two the
    worker can be used on. One call at a time: threads wait for each other.
    """

    def __init__(
        self,
        name: str,
        interpreter: str | None = None,
        memory_bytes: int | None = None,
        timeout_s: float | None = None,
        prefix: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        start_s: float = START_S,
    ) -> None:
        settings = Settings.read()
        self.name = name
        self.interpreter = interpreter or settings.python
        self.memory_bytes = settings.worker_memory_bytes if memory_bytes is None else memory_bytes
        self.timeout_s = settings.worker_timeout_s if timeout_s is None else timeout_s
        self._prefix, self._env, self._start_s = tuple(prefix), dict(env or {}), start_s
        self._child: ChildProcess | None = None
        self._facts: dict[str, Any] = {}
        self._lost: str | None = None
        self._lock = threading.RLock()
        self._session: RemoteSession | None = None

    # ---- what a worker does ------------------------------------------------------------------

    def build(self, engine_name: str, program_folder: Path, target: Target, variant: Variant, folder: Path) -> Built:
        """Have the engine compile the program saved in `program_folder` into `folder`."""
        folder = folder.resolve()
        body = {
            "engine": engine_name,
            "program": str(program_folder.resolve()),
            "target": target.as_dict(),
            "variant": variant.as_dict(),
            "folder": str(folder),
        }
        answer = self._call(Message("build", body), f"building with {engine_name}")
        return Built.from_dict(answer.body, folder)

    def open(
        self,
        engine_name: str,
        members: Mapping[str, Path],
        signature: Signature,
        variant: Variant,
        threads: int,
        device: str | None,
        rehearsed_for: Target | None = None,
        mapped: Sequence[str] = (),
    ) -> RemoteSession:
        """A session in the child over `members`, which it maps read-only.

        mapped: members that the engine may go on mapping (`Built.mapped`): their files stay as they are.
        rehearsed_for: the target whose chip is not here; the engine's simulator or emulator takes its place.
        """
        body = {
            "engine": engine_name,
            "members": {name: str(path.resolve()) for name, path in members.items()},
            "signature": signature.as_dict(),
            "variant": variant.as_dict(),
            "threads": threads,
            "device": device,
            "rehearsed_for": None if rehearsed_for is None else rehearsed_for.as_dict(),
            "mapped": list(mapped),
        }
        return self._opened(Message("open", body), engine_name)

    def open_source(self, engine_name: str, source: Path, signature: Signature) -> RemoteSession:
        """A session of an oracle over the untouched ONNX file."""
        body = {"engine": engine_name, "source": str(source.resolve()), "signature": signature.as_dict()}
        return self._opened(Message("open_source", body), engine_name)

    def open_framework(self, front_end: str, request: Mapping[str, Any], signature: Signature) -> RemoteSession:
        """A session of the source's own framework over the untouched source."""
        body = {"front_end": front_end, "request": dict(request), "signature": signature.as_dict()}
        return self._opened(Message("open_framework", body), front_end)

    def convert(self, front_end: str, request: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
        """Have a front end write its source as ONNX into `folder`; what it says of that."""
        body = {"front_end": front_end, "request": dict(request), "folder": str(folder.resolve())}
        return self._call(Message("convert", body), f"converting with {front_end}").body

    def unpickle(self, path: Path, inputs: Mapping[str, Any], folder: Path) -> str:
        """Have a trusted pickle loaded and saved in `folder` as its front end reads it; the file's name."""
        body = {"path": str(path), "inputs": dict(inputs), "folder": str(folder.resolve())}
        return str(self._call(Message("unpickle", body), "loading the pickle").body["name"])

    def open_plain(self, engine_name: str, source: Path, signature: Signature, threads: int) -> RemoteSession:
        """The engine on the untouched ONNX file as its own documentation has it; timed with nothing in between."""
        body = {
            "engine": engine_name,
            "source": str(source.resolve()),
            "signature": signature.as_dict(),
            "threads": threads,
        }
        return self._opened(Message("open_plain", body), engine_name)

    def open_artifact(
        self, path: Path, threads: int | None, device: str | None = None, options: Mapping[str, str] | None = None
    ) -> RemoteSession:
        """The artifact's session, opened in the child as any user would."""
        body = {"path": str(path.resolve()), "threads": threads, "device": device, "options": dict(options or {})}
        return self._opened(Message("open_artifact", body), path.name)

    def time(self, feeds: Feeds, iterations: int, outputs: Sequence[str] | None = None) -> np.ndarray:
        """`RemoteSession.time` of the session that was opened last."""
        if self._session is None:
            raise WorkerRefused("there is nothing to time", where=self._where(), fix="open a session first")
        return self._session.time(feeds, iterations, outputs)

    def timed(self, feeds: Feeds, outputs: Sequence[str] | None = None) -> Callable[[int], np.ndarray]:
        """`time` as what the timer and the race take: iterations -> ns of each."""
        return lambda iterations: self.time(feeds, iterations, outputs)

    def memory(self) -> dict[str, int]:
        """Bytes that the child holds: rss, uss (what no other process shares), the peak of rss; and its threads."""
        return dict(self._call(Message("memory"), "asking for memory").body)

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the child said of itself: neoc, python, executable, platform, machine, pid. Starts it."""
        with self._lock:
            self._started()
            return self._facts

    @property
    def log(self) -> str:
        """The last of what the child wrote to standard output and standard error."""
        return "" if self._child is None else self._child.log.text()

    def close(self) -> None:
        """End the child and all that it started. Safe to call twice, and while another thread waits in a call."""
        child = self._child
        if child is None:
            self._lost = self._lost or "it was closed"
            return
        idle = self._lock.acquire(blocking=False)
        if not idle:
            child.kill()  # the call in flight then ends with WorkerCrashed
            self._lock.acquire()
        try:
            child.leave(Message("quit"), FAREWELL_S if idle else 0.0)
            self._lost = self._lost or "it was closed"
        finally:
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ---- how ---------------------------------------------------------------------------------

    def _opened(self, message: Message, engine_name: str) -> RemoteSession:
        answer = self._call(message, f"opening with {engine_name}")
        self._session = RemoteSession(self, engine_name, answer.body)
        return self._session

    def _call(self, message: Message | None, doing: str, watch: Watch = Watch.WORKING) -> Message:
        with self._lock:
            child = self._started()
            try:
                answer = child.exchange(message, self.timeout_s, doing, watch)
            except WireError as error:
                raise WorkerRefused(f"{doing} was not tried", where=self._where(), why=str(error)) from error
            except WorkerFailure as failure:
                told = self._told(failure, doing, child.log.text())
                self._lost = str(told)
                raise told from None
            except BaseException:
                self._lost = "a call was interrupted"
                raise
        if answer.kind == "error":
            raise restored(answer.body, doing, self._where())
        return answer

    def _started(self) -> ChildProcess:
        if self._lost is not None:
            raise WorkerCrashed(f"worker {self.name!r} is gone", why=self._lost, fix="start another one")
        if self._child is None:
            self._child = self._start()
        return self._child

    def _start(self) -> ChildProcess:
        command = self._command()
        try:
            child = ChildProcess(self.name, command, self._environment(), self.memory_bytes)
        except OSError as error:
            raise self._unusable(f"{command[0]} cannot be started: {error.strerror}") from error
        try:
            hello = child.exchange(None, self._start_s, "starting a worker")
        except WorkerCrashed as failure:
            raise self._no_hello(child.log.text(), failure) from failure
        except BaseException:
            child.end()
            raise
        try:
            self._check_hello(hello)
        except BaseException:
            child.end()
            raise
        self._facts = dict(hello.body)
        return child

    def _command(self) -> list[str]:
        """What starts the child. Raises MissingTool."""
        interpreter = self.interpreter if self._prefix else shutil.which(self.interpreter)
        first = self._prefix[0] if self._prefix else interpreter
        if interpreter is None or first is None or shutil.which(first) is None:
            missing = self._prefix[0] if self._prefix else self.interpreter
            fix = "name an existing one (NEOC_PYTHON for neoc's own workers)"
            raise self._unusable(f"there is no program {missing!r}", fix)
        # -P: what lies in the working directory must not pass for numpy. Never resolve(): a venv's python is a link.
        command = [*self._prefix, interpreter if self._prefix else os.path.abspath(interpreter)]
        command += ["-P", "-m", "neoc.compile.worker_main", OWN_GROUP]
        if threading.current_thread() is threading.main_thread():
            command.append(DIE_WITH_PARENT)  # bound to the *thread* that starts the child: see prctl(2)
        return command

    def _check_hello(self, hello: Message) -> None:
        """Raises MissingTool where the other side speaks another protocol."""
        if hello.body.get("protocol") != wire.PROTOCOL:
            raise self._unusable(
                f"it has neoc {hello.body.get('neoc')}, whose workers speak protocol {hello.body.get('protocol')}; "
                f"this neoc speaks {wire.PROTOCOL}"
            )

    def _no_hello(self, log: str, failure: WorkerFailure) -> NeocError:
        """The error for a child that ended before it said anything."""
        return self._unusable(self._why_no_hello(log, failure))

    def _told(self, failure: WorkerFailure, doing: str, log: str) -> NeocError:
        """The error that the caller sees for a child that was lost; a remote worker knows more of it."""
        return failure

    def _environment(self) -> dict[str, str]:
        env = dict(os.environ) | self._env
        if env.get("PYTHONPATH"):  # the child's working directory is another one
            env["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, env["PYTHONPATH"].split(os.pathsep)))
        if self.interpreter != sys.executable:
            for name in ("PYTHONHOME", "__PYVENV_LAUNCHER__"):  # they name this interpreter's own files
                env.pop(name, None)
        return env

    def _why_no_hello(self, log: str, failure: WorkerFailure) -> str:
        for line in reversed(log.splitlines()):
            if "No module named" in line:
                return f"its environment lacks neoc's core ({line[line.index('No module named') :].rstrip(')')})"
        return failure.why

    def _unusable(self, why: str, fix: str = "") -> MissingTool:
        install = f"install this version of neoc in that environment: {self.interpreter} -m pip install neoc"
        where = f"{self._where()}, interpreter {self.interpreter}"
        return MissingTool("a worker cannot be started", where=where, why=why, fix=fix or install)

    def _where(self) -> str:
        return f"worker {self.name!r}"


class RemoteSession(Session):
    """A session whose engine lives in a worker. Closing it leaves the worker alive for another one."""

    def __init__(self, worker: Worker, engine_name: str, facts: Mapping[str, Any]) -> None:
        signature = Signature.from_dict(facts["signature"])
        self.inputs, self.outputs = signature.inputs, signature.outputs
        self.worker = worker
        self.stamp = facts.get("stamp", "")
        self.open_seconds: float = facts["open_s"]
        """what the engine's own `open` took, in the child"""
        self.first_run_seconds: float | None = None
        """what the first run took, in the child; None before it"""
        if declared := facts.get("raw"):
            from neoc.compile.raw import around

            self.raw = around(declared["pre"], declared["post"], signature)
        self._engine_name, self._number = engine_name, facts["session"]
        self._feed_check = FeedCheck(self.inputs)
        self._kept: OrderedDict[tuple[tuple[str, int], ...], tuple[int, Feeds]] = OrderedDict()
        self._closed = False

    def run(self, feeds: Feeds, outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        self._feed_check.check(feeds)
        body = {"session": self._number, "outputs": None if outputs is None else list(outputs)}
        answer = self._call(Message("run", body, feeds), "running", Watch.RUNNING)
        return dict(answer.values)

    def time(self, feeds: Feeds, iterations: int, outputs: Sequence[str] | None = None) -> np.ndarray:
        """Nanoseconds of each of `iterations` runs, int64, measured around `run` inside the child.

        The feeds are sent once: arrays that were sent before are taken as unchanged.
        """
        if iterations < 1:
            raise ValueError("at least one iteration is needed")
        with self.worker._lock:
            body = {
                "session": self._number,
                "feeds": self._keep(feeds),
                "iterations": iterations,
                "outputs": None if outputs is None else list(outputs),
            }
            answer = self._call(Message("time", body), f"timing {iterations} runs", Watch.TIMING)
        times: np.ndarray = answer.values["ns"]
        return times

    def drive(
        self, driver: str, samples: Sequence[Feeds], options: Mapping[str, Any]
    ) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """`driver`, a 'module:function' of the benchmark harness, on this session inside the child: facts and arrays.

        It is called with the engine's call, the samples (at most KEPT_FEEDS), `options` and the session.
        """
        if len(samples) > KEPT_FEEDS:
            raise ValueError(f"at most {KEPT_FEEDS} samples can be driven, not {len(samples)}")
        with self.worker._lock:
            numbers = [self._keep(feeds) for feeds in samples]
            body = {"session": self._number, "feeds": numbers, "driver": driver, "options": dict(options)}
            answer = self._call(Message("drive", body), f"driving {driver.rpartition(':')[2]}", Watch.TIMING)
        return dict(answer.body), dict(answer.values)

    def _keep(self, feeds: Feeds) -> int:
        """The number under which the child keeps these feeds. They are held here too: an id means nothing after."""
        key = tuple((name, id(array)) for name, array in feeds.items())
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key][0]
        self._feed_check.check(feeds)
        drop = []
        while len(self._kept) >= KEPT_FEEDS:
            drop.append(self._kept.popitem(last=False)[1][0])
        number: int = self._call(Message("put", {"drop": drop}, feeds), "sending feeds").body["feeds"]
        self._kept[key] = (number, dict(feeds))
        return number

    def _call(self, message: Message, doing: str, watch: Watch = Watch.WORKING) -> Message:
        if self._closed:
            raise WorkerRefused(f"{doing} was not tried", where=self.worker._where(), why="the session was closed")
        answer = self.worker._call(message, f"{doing} with {self._engine_name}", watch)
        if answer.body.get("first_run_s") is not None:
            self.first_run_seconds = answer.body["first_run_s"]
        return answer

    def close(self) -> None:
        if not self._closed and self.worker._child is not None and self.worker._lost is None:
            self._call(Message("close", {"session": self._number}), "closing")
        self._closed = True


def restored(facts: Mapping[str, Any], doing: str, where: str) -> NeocError:
    """The error that the child met: neoc's own as itself, all else as WorkerRefused in the engine's words."""
    error: NeocError
    neoc = facts.get("neoc")
    kind = getattr(errors, neoc["kind"], None) if neoc else None
    if neoc and isinstance(kind, type) and issubclass(kind, NeocError):
        error = kind(neoc["what"], where=neoc["where"], why=neoc["why"], fix=neoc["fix"])
        if "gaps" in neoc:
            error.__dict__["gaps"] = tuple(Gap(**gap) for gap in neoc["gaps"])
        if "losses" in neoc:
            error.__dict__["losses"] = dict(neoc["losses"])
    elif facts["type"] == "MemoryError":
        error = WorkerOutOfMemory(f"{doing} could not get the memory it asked for", where=where, why=facts["text"])
    else:
        why = f"{facts['type']}: {facts['text']}" if facts["text"] else facts["type"]
        error = WorkerRefused(f"{doing} failed", where=where, why=why)
    error.add_note(f"In the {where}:\n{facts['trace']}")
    return error
