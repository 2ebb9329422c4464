"""A rootless ARM file system on another machine, made once: Debian's Python, the engines' wheels, a qemu for them.

    CACHE/emulation/aarch64-KEY/
        facts.json         versions of all parts, and the qemu that passed
        root/              Debian, extracted and never installed: no root rights, no chroot, no binfmt handler
        site/              onnxruntime, numpy ... as aarch64 wheels, of the versions that are installed here
        qemu/              qemu-aarch64 and qemu-arm, where the machine's own are too old

Everything comes through the package managers' ordinary clients: mmdebstrap (and through it apt), pip. What is made is
tried before it is published: qemu 7.2 crashes while onnxruntime is imported, whatever the CPU model.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from typing import Any

from neoc.compile.errors import MissingTool
from neoc.compile.settings import Settings

FORMAT = 3
"""raised with every change to what lies in the folder"""
SUITE, PYTHON = "bookworm", "3.11"
"""the Debian release of the file system, and its Python"""
PACKAGES = ("python3", "libstdc++6", "libgomp1")
QEMU_SUITE, QEMU_PACKAGE = "trixie", "qemu-user"
"""where a qemu that runs onnxruntime is taken from: 10.0, statically linked"""
WHEELS = ("numpy", "ml_dtypes", "onnxruntime", "apache-tvm-ffi", "typing_extensions")
TVM, TVM_RUNTIME = "apache-tvm", "tvm/lib/libtvm_runtime.so"
"""of TVM the runtime library alone is taken: 3 MB where the compiler is 240"""
PLATFORMS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_24", "manylinux_2_17", "manylinux2014")
PROBE_CPU = "cortex-a53"
OFF = "NEOC_EMULATION=0 keeps qemu out of it"
_PREPARE = "prepare it with: neoc emulator prepare"

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Guest:
    """A prepared file system."""

    folder: Path

    @cached_property
    def facts(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "facts.json").read_text())
        return found

    @property
    def root(self) -> Path:
        return self.folder / "root"

    @property
    def site(self) -> Path:
        return self.folder / "site"

    @property
    def python(self) -> Path:
        return self.root / "usr/bin" / f"python{PYTHON}"

    @property
    def qemu_version(self) -> str:
        return str(self.facts["qemu"]["version"])

    def qemu(self, arch: str) -> Path:
        """The emulator of 'aarch64' or 'arm': the machine's own that passed, else the one in the folder."""
        return Path(self.facts["qemu"].get(arch) or self.folder / "qemu" / f"qemu-{arch}")

    def has(self, package: str) -> str | None:
        """The version of a package in it; None where it lacks that."""
        found = self.facts["wheels"].get(package)
        return None if found is None else str(found)

    def tvm_runtime(self) -> Path | None:
        path = self.site / TVM_RUNTIME
        return path if path.is_file() else None

    def command(self, cpu: str) -> tuple[str, ...]:
        """What stands before the interpreter: the emulator, the CPU model and the file system."""
        return (str(self.qemu("aarch64")), "-cpu", cpu, "-L", str(self.root))


def find() -> Guest | str:
    """The file system to run artifacts in, or why there is none and what makes one."""
    return prepared() if Settings.read().emulation else OFF


def prepared() -> Guest | str:
    """The prepared file system for what is installed here, whatever the settings say of emulation; or why not."""
    folder = _folder(_parts())
    if (folder / "facts.json").is_file():
        made = Guest(folder)
        if made.qemu("aarch64").is_file():
            return made
        return f"the qemu that it was made with is gone: {made.qemu('aarch64')}; neoc emulator clear, then prepare"
    return f"there is no ARM file system to run it in; {_PREPARE}"


def prepare(progress: Progress = lambda line: None, budget_s: float = 1800.0) -> Guest:
    """Make the file system, once; another process that makes it is waited for. Raises MissingTool, with the reason.

    budget_s: bound on all of it: a mirror may neither answer nor refuse.
    """
    from filelock import FileLock, Timeout

    parts = _parts()
    folder = _folder(parts)
    folder.parent.mkdir(parents=True, exist_ok=True)
    token = _until.set(time.monotonic() + budget_s)
    try:
        with FileLock(folder.with_suffix(".lock"), timeout=budget_s):
            if not (folder / "facts.json").is_file():
                _publish(folder, parts, progress)
    except Timeout as error:
        raise _lacking(f"another process has been making it for {budget_s:.0f} s") from error
    finally:
        _until.reset(token)
    return Guest(folder)


def _publish(folder: Path, parts: dict[str, Any], progress: Progress) -> None:
    """The folder appears whole, or not at all."""
    for left in folder.parent.glob(f".{folder.name}.*"):  # by a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as scratch:
        made = Path(scratch) / "made"
        made.mkdir()
        _make(made, parts, progress)
        shutil.rmtree(folder, ignore_errors=True)  # what a `clear` that was killed left: it has no facts.json
        os.rename(made, folder)


def remove() -> list[Path]:
    """Delete every prepared file system, of older keys too; their folders."""
    from filelock import FileLock

    found = []
    for folder in sorted((Settings.read().cache_dir / "emulation").glob("aarch64-*")):
        if folder.is_dir():
            with FileLock(folder.with_suffix(".lock")):
                shutil.rmtree(folder)
            found.append(folder)
    return found


def _parts() -> dict[str, Any]:
    """What the file system depends on."""
    wheels = {name: _public(name) for name in (*WHEELS, TVM)}
    return {
        "format": FORMAT,
        "suite": SUITE,
        "packages": list(PACKAGES),
        "qemu_suite": QEMU_SUITE,
        "wheels": {name: found for name, found in wheels.items() if found},
    }


def _folder(parts: dict[str, Any]) -> Path:
    key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]
    return Settings.read().cache_dir / "emulation" / f"aarch64-{key}"


def _public(name: str) -> str:
    """The version installed here without its local part (2.13.0+cpu is a build of 2.13.0); '' where there is none."""
    try:
        return version(name).partition("+")[0]
    except PackageNotFoundError:
        return ""


# ---- making ----------------------------------------------------------------------------------


def _make(folder: Path, parts: dict[str, Any], progress: Progress) -> None:
    progress(f"Debian {SUITE} for aarch64: {', '.join(PACKAGES)}")
    _debian(folder / "root", SUITE, "arm64", PACKAGES, folder)
    progress(f"aarch64 wheels: {', '.join(f'{name} {found}' for name, found in parts['wheels'].items())}")
    _wheels(folder / "site", {n: v for n, v in parts["wheels"].items() if n != TVM})
    if TVM in parts["wheels"]:
        _tvm_runtime(folder / "site", parts["wheels"][TVM], folder)
    modules = ["numpy", "ml_dtypes"]
    modules += ["onnxruntime"] * ("onnxruntime" in parts["wheels"])
    modules += ["tvm_ffi"] * ("apache-tvm-ffi" in parts["wheels"])
    qemu = _qemu(folder, modules, progress)
    progress("byte code")
    _byte_code(Guest(folder), qemu)
    facts = {**parts, "qemu": qemu}
    (folder / "facts.json").write_text(json.dumps(facts, indent=1, sort_keys=True))


def _debian(root: Path, suite: str, arch: str, packages: Sequence[str], scratch: Path) -> None:
    """Extract packages, with what they depend on, into `root`."""
    tool = shutil.which("mmdebstrap")
    if tool is None:
        raise _lacking("mmdebstrap is not installed", "install it (Debian, Ubuntu: apt-get install mmdebstrap)")
    archive = scratch / f"{suite}-{arch}.tar"
    command = [tool, "--variant=extract", f"--architectures={arch}", f"--include={','.join(packages)}"]
    # Only in these two modes neither user namespaces nor their mapping of users are asked for.
    modes = (("root",), ("chrootless", "--skip=check/chrootless")) if os.geteuid() == 0 else (("chrootless",),)
    failures = []
    for mode, *more in modes:
        done = _run([*command, f"--mode={mode}", *more, suite, str(archive)], scratch)
        if done.returncode == 0:
            break
        failures.append(_last_words(done))
    else:
        raise _lacking(f"mmdebstrap cannot get {', '.join(packages)} of Debian {suite}: {'; '.join(failures)}")
    root.mkdir()
    unpack = ["tar", "-x", "-f", str(archive), "-C", str(root), "--no-same-owner", "--exclude=./dev"]
    done = _run(unpack, scratch)
    archive.unlink()
    if done.returncode != 0:
        raise _lacking(f"the packages of Debian {suite} cannot be unpacked: {_last_words(done)}")


def _wheels(site: Path, wheels: dict[str, str]) -> None:
    asked = [f"{name}=={found}" for name, found in wheels.items()]
    done = _pip("install", "--no-compile", "--target", str(site), *asked)
    if done.returncode != 0:
        raise _lacking(f"pip cannot get {', '.join(asked)} for aarch64: {_last_words(done)}")


def _tvm_runtime(site: Path, wanted: str, scratch: Path) -> None:
    """The runtime library and the metadata out of TVM's wheel."""
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        done = _pip("download", "-d", folder, f"{TVM}=={wanted}")
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode != 0 or not wheels:
            raise _lacking(f"pip cannot get {TVM}=={wanted} for aarch64: {_last_words(done)}")
        with zipfile.ZipFile(wheels[0]) as wheel:
            for name in wheel.namelist():
                if name == TVM_RUNTIME or name.endswith((".dist-info/METADATA", ".dist-info/WHEEL")):
                    wheel.extract(name, site)


def _pip(action: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    platforms = [word for p in PLATFORMS for word in ("--platform", f"{p}_aarch64")]
    abis = [word for abi in (f"cp{PYTHON.replace('.', '')}", "abi3", "none") for word in ("--abi", abi)]
    which = ["--python-version", PYTHON, "--implementation", "cp", *abis, *platforms, "--only-binary=:all:"]
    quiet = ["--quiet", "--no-input", "--disable-pip-version-check", "--no-deps"]
    return _run([sys.executable, "-m", "pip", action, *quiet, *which, *arguments], None)


def _qemu(folder: Path, modules: Sequence[str], progress: Progress) -> dict[str, str]:
    """The first qemu that imports `modules`: this machine's, else a newer one, kept in the folder."""
    guest, why = Guest(folder), []
    for own in filter(None, map(shutil.which, ("qemu-aarch64", "qemu-aarch64-static"))):
        progress(f"trying {own}")
        if failure := _tried(guest, Path(own), modules):
            why.append(f"{own}: {failure}")
        else:
            arm = shutil.which("qemu-arm") or shutil.which("qemu-arm-static") or ""
            return {"aarch64": own, "arm": arm, "version": qemu_version(Path(own))}
    progress(f"qemu of Debian {QEMU_SUITE}")
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        _debian(Path(scratch) / "q", QEMU_SUITE, _host_debian(), (QEMU_PACKAGE,), Path(scratch))
        (folder / "qemu").mkdir()
        for name in ("qemu-aarch64", "qemu-arm"):
            shutil.copy2(Path(scratch) / "q/usr/bin" / name, folder / "qemu" / name)
    kept = folder / "qemu/qemu-aarch64"
    if failure := _tried(guest, kept, modules):
        raise _lacking("; ".join([*why, f"qemu of Debian {QEMU_SUITE}: {failure}"]))
    return {"version": qemu_version(kept)}


def _tried(guest: Guest, qemu: Path, modules: Sequence[str]) -> str:
    """Why that qemu cannot import the modules; '' where it can. Leaves their byte code behind for later starts."""
    command = [str(qemu), "-cpu", PROBE_CPU, "-L", str(guest.root), str(guest.python), "-c"]
    code = f"import {', '.join(modules)}; print('imported')"
    done = _run([*command, code], None, {"PYTHONPATH": str(guest.site), "PYTHONNOUSERSITE": "1"})
    return "" if "imported" in done.stdout else f"it cannot import {', '.join(modules)} ({_last_words(done)})"


_NOT_COMPILED = "/(tests?|tools|quantization|transformers|idlelib|lib2to3|distutils|ensurepip|tkinter)/"


def _byte_code(guest: Guest, qemu: dict[str, str]) -> None:
    """Compile the modules once: an emulated interpreter starts in two seconds with their byte code, in five without.

    By this interpreter where it is of the guest's own version, whose byte code is the same on every architecture; by
    the guest's otherwise. What fails here costs later starts their time, nothing else.
    """
    own = ".".join(map(str, sys.version_info[:2])) == PYTHON
    emulator = qemu.get("aarch64") or guest.folder / "qemu/qemu-aarch64"
    command = [sys.executable] if own else [str(emulator), "-L", str(guest.root), str(guest.python)]
    folders = [str(guest.root / "usr/lib" / f"python{PYTHON}"), str(guest.site)]
    _run([*command, "-m", "compileall", "-q", "-x", _NOT_COMPILED, *folders], None)


def qemu_version(qemu: Path) -> str:
    """What it says of itself; 'unknown' where it says nothing."""
    words = _run([str(qemu), "--version"], None).stdout.split()
    return words[2] if len(words) > 2 else "unknown"


def _host_debian() -> str:
    machine = os.uname().machine
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


_until: ContextVar[float] = ContextVar("until", default=math.inf)
"""when the time of the preparation at hand is over, by time.monotonic"""


def _run(
    command: Sequence[str], scratch: Path | None, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """The command, ended with all that it started where the time is over."""
    env = {**os.environ, **(environment or {}), **({} if scratch is None else {"TMPDIR": str(scratch)})}
    pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
    try:
        process = subprocess.Popen(
            command,
            env=env,
            stdin=nothing,
            stdout=pipe,
            stderr=pipe,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        return subprocess.CompletedProcess(command, 1, "", str(error))
    try:
        out, errors = process.communicate(timeout=max(0.0, min(_until.get() - time.monotonic(), 1e6)))
    except BaseException as error:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
        return subprocess.CompletedProcess(command, 1, "", f"{command[0]} did not come to an end in time")
    return subprocess.CompletedProcess(command, process.returncode, out, errors)


def _last_words(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    return " | ".join(lines[-2:])[:400] or f"exit status {done.returncode}"


def _lacking(why: str, fix: str = "") -> MissingTool:
    fix = fix or "see that the package mirror and the wheels can be reached, then: neoc emulator prepare"
    return MissingTool("the ARM file system cannot be prepared", why=why, fix=fix)


# ---- neoc itself -----------------------------------------------------------------------------


@contextmanager
def own_packages() -> Iterator[Path]:
    """A folder that makes this neoc importable by another interpreter: links to its packages, and its entry points."""
    import neoc.compile
    import neoc.kernels
    import neoc.targets

    with tempfile.TemporaryDirectory(prefix="neoc-guest-") as name:
        folder = Path(name)
        (folder / "neoc").mkdir()
        for package in (neoc.compile, neoc.kernels, neoc.targets):
            here = Path(str(package.__file__)).resolve().parent
            (folder / "neoc" / package.__name__.rpartition(".")[2]).symlink_to(here)
        found = distribution("neoc")
        metadata = folder / f"neoc-{found.version}.dist-info"
        metadata.mkdir()
        # What is found may be the .egg-info of an editable installation, whose metadata has another file name.
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: neoc\nVersion: {found.version}\n")
        (metadata / "entry_points.txt").write_text(found.read_text("entry_points.txt") or "")
        yield folder
