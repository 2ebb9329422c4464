"""Every error of the kernels, drawn once. Styled like compile/errors.py, but independent of it.

KernelError                  one paragraph: what, where, why, what to do next
|-- KernelInputError         an array or item does not fit: dtype, rank, size, layout, device
|-- KernelOptionError        an option that no kernel knows, or options that contradict each other
|-- KernelCompileError       machine code could not be produced or loaded
|-- BatcherClosed            submitted to, or cancelled by, a batcher that is closed
|-- QueueFull                the bounded queue has no place and the caller would not wait
`-- DeadlineExceeded         the request waited past its own deadline and was not run
"""

from __future__ import annotations


class KernelError(Exception):
    """An error with a complete message.

    what: what failed, a sentence without its full stop. where: argument, step, kernel.
    why: the cause as far as it is known. fix: what to do next.
    """

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


def _rebuild(kind: type[KernelError], state: dict[str, object]) -> KernelError:
    error = kind.__new__(kind)
    error.__dict__.update(state)
    error.args = (state.get("what", ""),)
    return error


class KernelInputError(KernelError, ValueError):
    """An array or item does not fit."""


class KernelOptionError(KernelError, ValueError):
    """An option that no kernel knows, or options that contradict each other."""


class KernelCompileError(KernelError):
    """Machine code could not be produced or loaded."""


class BatcherClosed(KernelError):
    """The batcher takes no more requests."""


class QueueFull(KernelError):
    """The bounded queue has no place and the caller would not wait."""


class DeadlineExceeded(KernelError):
    """The request waited past its own deadline and was not run."""
