"""A benchmark on a remote device, whole: processes, clocks, load watch and fingerprint are there; a record comes.

here                                   there
bench_on   artifacts, data, options -> bench_here -> measurement.bench, as `neoc bench` on that machine
           record                   <-
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neoc.bench import record
from neoc.bench.measurement import BenchOptions, Progress, bench
from neoc.bench.subjects import Subject
from neoc.compile.artifact import Artifact
from neoc.compile.contracts import Level
from neoc.compile.errors import InvalidInput, UsageError
from neoc.targets.remote.link import DeviceWorker, admit_there

LOCAL = ("data", "trace", "open")
"""options that name things of this machine: their files are sent, or they do not travel"""


@dataclass(frozen=True)
class Sent:
    """What lies on the device: subjects by name, and the numbers of files by what they are for."""

    subjects: tuple[tuple[str, int], ...]
    files: Mapping[str, Sequence[int]]


def send(worker: DeviceWorker, subjects: Sequence[Subject], options: BenchOptions, progress: Progress) -> Sent:
    """Copy what a benchmark needs. Raises UsageError for a subject that is no artifact, WrongDevice, DeviceFull."""
    for subject in subjects:
        if subject.engine is not None:
            raise UsageError(
                "a device runs artifacts alone",
                where=subject.text,
                why="nothing is run there that a digest of neoc's does not cover",
                fix="compile the model for the device and name the artifact",
            )
        artifact = Artifact.open(subject.path)
        record.refuse_stand_in(subject.text, artifact.level)
        admit_there(artifact, worker)
    numbers = tuple((subject.text, worker.send(subject.path, progress)) for subject in subjects)
    files = {
        use: [worker.send(path, progress, name) for name, path in _files(place)]
        for use, place in (("data", options.data), ("trace", options.trace))
        if place is not None
    }
    return Sent(numbers, files)


def _files(place: Path) -> list[tuple[str, Path]]:
    """The files to send, and their names there. Of a folder: numbered in its order, as signs that no name may have over
    there become others, and 'a b.jpg' and 'a_b.jpg' must stay two."""
    if not place.is_dir():
        return [(place.name, place)]
    found = sorted(path for path in place.iterdir() if path.is_file())
    if not found:
        raise InvalidInput("the folder holds no file", where=str(place), fix="name a folder of items, or a file")
    return [(f"{index:06d}-{path.name}", path) for index, path in enumerate(found)]


def bench_on(worker: DeviceWorker, sent: Sent, options: BenchOptions, progress: Progress) -> dict[str, Any]:
    """The record of `bench` as the device made it, with the device's name. Raises what `bench` raises, DeviceLost.

    Of a stand-in device every result is of level `stand-in`: compare, ledger and report refuse it.
    """
    travels = {
        field.name: getattr(options, field.name) for field in dataclasses.fields(options) if field.name not in LOCAL
    }
    travels |= {"floors": dict(options.floors), "folder": options.data is not None and options.data.is_dir()}
    found = worker.bench(sent.subjects, sent.files, travels, progress)
    found["device"] = {"name": worker.device.name, "neoc": worker.facts["neoc"], "python": worker.facts["python"]}
    if options.data is not None:
        found["data"] |= {"name": options.data.name, "sha256": record.data_digest(options.data)}
    if worker.device.standin:
        for result in found["results"]:
            result["level"] = Level.STANDIN.value
    return found


def bench_here(
    subjects: Sequence[tuple[str, Path]],
    files: Mapping[str, list[Path]],
    options: Mapping[str, Any],
    progress: Progress,
) -> dict[str, Any]:
    """The device's side: `bench` on files that were sent. (Entry point `bench` of the group neoc.device.)"""
    chosen: dict[str, Any] = {key: value for key, value in options.items() if key != "folder"}
    chosen |= {
        use: _gathered(paths) if options["folder"] and use == "data" else paths[0] for use, paths in files.items()
    }
    return bench([Subject(text, path) for text, path in subjects], BenchOptions(**chosen), progress)


def _gathered(paths: Sequence[Path]) -> Path:
    """Files that were sent one by one, in one folder as they were."""
    folder = paths[0].parent.parent / f"{paths[0].parent.name}-folder"
    folder.mkdir(exist_ok=True)
    for path in paths:
        if path.exists():  # moved when the same files were measured before
            path.rename(folder / path.name)
    return folder
