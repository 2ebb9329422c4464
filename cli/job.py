"""`neoc compile --job`: the bound on the whole run, and what became of the job in DescribeCompilationJob's words."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neoc.compile.errors import JobTimeout, NeocError

if TYPE_CHECKING:
    from neoc.compile.artifact import Artifact
    from neoc.targets.job import Job

AGAIN_S = 60.0
"""a destructor swallows what is raised in it: then the bound is told once more"""


class _Deadline(BaseException):
    """No Exception, so that nothing on the way takes it for the failure of one candidate."""


@contextmanager
def bounded(seconds: float | None, where: str) -> Iterator[None]:
    """Ends the block after so many seconds, whatever it does: what it started is ended with it. Raises JobTimeout."""
    if seconds is None:
        yield
        return

    def ring(*_: object) -> None:
        raise _Deadline

    before = signal.signal(signal.SIGALRM, ring)
    timer = signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN_S)
    try:
        yield
    except _Deadline:
        raise JobTimeout(
            f"the job did not end within {seconds:g} s",
            where=where,
            why="MaxRuntimeInSeconds is the bound",
            fix="allow more, or bind shapes and name one engine (--engine) so that there is less to try",
        ) from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, *timer)  # of a program around this one


@dataclass
class Ticket:
    """A job that is being run. `request`: as it was given, to be told back."""

    job: Job
    request: Mapping[str, Any]
    began: float = field(default_factory=time.time)

    def description(self, result: Artifact | NeocError) -> dict[str, Any]:
        """Status, times, artifact and digest, by the names of DescribeCompilationJob's answer."""
        facts: dict[str, Any] = {
            "CompilationJobName": self.job.name,
            "CompilationJobStatus": "COMPLETED",
            "CompilationStartTime": _iso(self.began),
            "CompilationEndTime": _iso(time.time()),
            **{key: self.request[key] for key in ("StoppingCondition", "RoleArn", "VpcConfig") if key in self.request},
            "InputConfig": dict(self.request["InputConfig"]),
            "OutputConfig": dict(self.request["OutputConfig"]),
        }
        if isinstance(result, NeocError):
            status = "STOPPED" if isinstance(result, JobTimeout) else "FAILED"
            return facts | {"CompilationJobStatus": status, "FailureReason": str(result)}
        shapes = {spec.name: spec.as_dict()["shape"] for spec in result.signature.inputs}
        return facts | {
            "ModelArtifacts": {"S3ModelArtifacts": result.path.absolute().as_uri()},
            "ModelDigests": {"ArtifactDigest": result.content_digest},
            "DerivedInformation": {"DerivedDataInputConfig": json.dumps(shapes)},
        }

    @contextmanager
    def told(self) -> Iterator[list[Artifact]]:
        """Writes NAME.json into the output folder as the block ends: what was put into the list, or why nothing was."""
        made: list[Artifact] = []
        try:
            yield made
        except NeocError as error:
            with suppress(NeocError):  # the first error is the one to tell
                self._write(error)
            raise
        if made:
            self._write(made[0])

    def _write(self, result: Artifact | NeocError) -> None:
        from neoc.compile.files import write_atomically

        folder = self.job.output or Path()
        folder = folder.parent if folder.suffix == ".neoc" else folder
        if folder.is_dir():
            text = json.dumps(self.description(result), indent=1) + "\n"
            write_atomically(folder / f"{self.job.name}.json", text.encode())


def _iso(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
