"""Every error a user can meet, drawn once.

NeocError                        one paragraph: what, where, why, what to do next
|-- NegativeVerdict      exit 1  the question was answered, and the answer is no
|   |-- UnsupportedModel         no engine of the target takes it; carries every gap
|   |-- ParityFailure            built, but computes something else
|   |-- VacuousCheck             outputs do not move when inputs move: nothing was proven
|   |-- PaddingChanges           outputs change when inputs are padded: buckets would compute something else
|   |-- NoCandidate              every candidate was lost; each is named with its reason
|   `-- JobTimeout               a job ran longer than it allows itself
|-- UsageError           exit 2  unusable arguments, input or output place
|   |-- InvalidModel             the file is no model, or a broken one
|   |-- InvalidInput             --input or --data does not fit the model
|   |-- InvalidArtifact          damaged, tampered with, or of a future version
|   |-- FeedError                a run's feeds do not fit the session's inputs
|   `-- OutputError              the place to write to cannot be written
|-- Unavailable          exit 3  a needed tool or device is missing
|   |-- MissingTool              a package or program, with the command that installs it
|   |-- WrongDevice              the artifact is for another chip
|   |-- DeviceUnreachable        a remote device does not answer, or has no fitting neoc
|   |-- HostKeyMismatch          what answers at its address is not the machine that was confirmed
|   |-- DeviceLost               the connection or the device went away in the middle of the work
|   `-- DeviceFull               no room on a remote device for what was sent
|-- WorkerFailure                a child process was lost (always named in the result)
|   |-- WorkerCrashed            died by signal or exit
|   |-- WorkerTimeout            past its time bound
|   |-- WorkerOutOfMemory        past its memory bound
|   `-- WorkerRefused            raised an error of its own, carried here
`-- InternalError        exit 70 a bug in neoc
    `-- PassFailure              a pass broke the program; names it and the passes before it
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from neoc.compile.contracts import Gap


class NeocError(Exception):
    """An error with a complete message.

    what: what failed, a sentence without its full stop. where: file, node, input, line.
    why: the cause as far as it is known. fix: what to do next, best a command.
    """

    exit_status: ClassVar[int] = 70

    def __init__(self, what: str, *, where: str = "", why: str = "", fix: str = "") -> None:
        self.what, self.where, self.why, self.fix = what, where, why, fix
        super().__init__(what)

    def __str__(self) -> str:
        head = f"{self.what} ({self.where})" if self.where else self.what
        head = f"{head}: {self.why}" if self.why else head
        sentences = [s.strip().rstrip(".") + "." for s in (head, self.fix) if s.strip()]
        return " ".join(" ".join(sentences).split())

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.__dict__.copy()))

    def as_dict(self) -> dict[str, object]:
        """The error as JSON: kind, exit_status, message and its four parts."""
        return {
            "kind": type(self).__name__,
            "exit_status": self.exit_status,
            "message": str(self),
            "what": self.what,
            "where": self.where,
            "why": self.why,
            "fix": self.fix,
        }


def _rebuild(kind: type[NeocError], state: dict[str, object]) -> NeocError:
    error = kind.__new__(kind)
    error.__dict__.update(state)
    error.args = (state.get("what", ""),)
    return error


class NegativeVerdict(NeocError):
    exit_status = 1


class UnsupportedModel(NegativeVerdict):
    """No engine of the target takes the model. `gaps` holds all of them, for every engine."""

    def __init__(
        self,
        what: str,
        *,
        gaps: Sequence[Gap] = (),
        where: str = "",
        why: str = "",
        fix: str = "",
    ) -> None:
        super().__init__(what, where=where, why=why, fix=fix)
        self.gaps = tuple(gaps)

    def as_dict(self) -> dict[str, object]:
        return super().as_dict() | {"gaps": [gap.as_dict() for gap in self.gaps]}


class ParityFailure(NegativeVerdict):
    """The compiled model computes something else than its source."""


class VacuousCheck(NegativeVerdict):
    """The outputs did not move when the inputs moved, so agreement proves nothing."""


class PaddingChanges(NegativeVerdict):
    """The outputs change when the inputs are padded to the size of a bucket."""


class JobTimeout(NegativeVerdict):
    """A compilation job reached its MaxRuntimeInSeconds; everything that it had started was ended."""


class NoCandidate(NegativeVerdict):
    """Every candidate was lost; `losses` maps a candidate's id to its reason."""

    def __init__(
        self,
        what: str,
        *,
        losses: dict[str, str] | None = None,
        where: str = "",
        why: str = "",
        fix: str = "",
    ) -> None:
        super().__init__(what, where=where, why=why, fix=fix)
        self.losses = dict(losses or {})

    def as_dict(self) -> dict[str, object]:
        return super().as_dict() | {"losses": self.losses}


class UsageError(NeocError):
    exit_status = 2


class InvalidModel(UsageError):
    pass


class InvalidInput(UsageError):
    pass


class InvalidArtifact(UsageError):
    pass


class FeedError(UsageError):
    pass


class OutputError(UsageError):
    pass


class Unavailable(NeocError):
    exit_status = 3


class MissingTool(Unavailable):
    pass


class WrongDevice(Unavailable):
    pass


class DeviceUnreachable(Unavailable):
    pass


class HostKeyMismatch(Unavailable):
    pass


class DeviceLost(Unavailable):
    pass


class DeviceFull(Unavailable):
    pass


class WorkerFailure(NeocError):
    exit_status = 1


class WorkerCrashed(WorkerFailure):
    pass


class WorkerTimeout(WorkerFailure):
    pass


class WorkerOutOfMemory(WorkerFailure):
    pass


class WorkerRefused(WorkerFailure):
    pass


class InternalError(NeocError):
    exit_status = 70


class PassFailure(InternalError):
    """A pass broke the program. `excerpt` shows the nodes around the fault, one a line."""

    def __init__(self, what: str, *, where: str = "", why: str = "", fix: str = "", excerpt: str = "") -> None:
        super().__init__(what, where=where, why=why, fix=fix)
        self.excerpt = excerpt

    def __str__(self) -> str:
        return super().__str__() + (f"\n{self.excerpt}" if self.excerpt else "")

    def as_dict(self) -> dict[str, object]:
        return super().as_dict() | {"excerpt": self.excerpt}


class PortableForm(UserWarning):
    """An artifact was opened in another form than the one it was optimised into, and why: it starts slower."""
