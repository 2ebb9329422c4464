"""Post-processing as a model declares it: a step's name and plain options -> answers, one for each item.

make("softmax", {})                       scores -> probabilities, an array that later steps may read
make("top_k", {"k": 5, "names": [...]})   scores [n, classes] -> the best of each row
make("labels", {"threshold": 0.5})        scores [n, classes] -> the classes at or above it
make("decode_boxes", {"anchors": [...]})  deltas [n, m, 4] (and anchors [m, 4] or [n, m, 4]) -> boxes, an array
make("nms", {"iou": 0.5})                 boxes [n, m, 4], scores [n, m] or [n, m, classes] (and classes [n, m])
make("ctc_greedy", {"alphabet": "-abc"})  scores [n, steps, classes] -> text, or indices without an alphabet
make("dequantize", {"scale": 0.1})        an integer tensor -> float32, an array; "quantize" the other way
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from neoc.kernels import jit, post, post_twin, steps
from neoc.kernels.errors import KernelInputError, KernelOptionError
from neoc.kernels.steps import known_options

Array = NDArray[Any]


class PostStep(ABC):
    """One step: arrays with the items on their first axis in, and an array or a list with one answer an item out."""

    name: ClassVar[str]
    reads: ClassVar[tuple[int, int]] = (1, 1)
    """least and most arrays that it reads"""
    array: ClassVar[bool] = False
    """whether the result is an array, which later steps may read"""
    source: ClassVar[str] = "float32"
    defaults: ClassVar[dict[str, Any]] = {}

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._spec = known_options(self.name, options, self.defaults)
        self.check()

    def check(self) -> None:  # noqa: B027 - most steps have nothing more to check
        """Raises KernelOptionError for an option that cannot be."""

    def to_spec(self) -> dict[str, Any]:
        """Every option as a JSON value, defaults written out."""
        return self._spec

    @abstractmethod
    def gives(self) -> str:
        """What an answer is, for people."""

    @abstractmethod
    def __call__(self, *arrays: Array) -> Any:
        """Raises KernelInputError."""

    @abstractmethod
    def reference(self, *arrays: Array) -> Any:
        """The same by plain numpy."""

    @abstractmethod
    def kernels(self) -> tuple[jit.Kernel, ...]:
        """Every kernel that a call may use."""

    def bound(self) -> float:
        """How far floats of a call may be from the twin's, relative to 1 or to the largest of them."""
        return 0.0


class Softmax(PostStep):
    name, array = "softmax", True

    def gives(self) -> str:
        return "float32 probabilities"

    def __call__(self, *arrays: Array) -> Any:
        return post.softmax(arrays[0])

    def reference(self, *arrays: Array) -> Any:
        with np.errstate(invalid="ignore"):
            return post_twin.softmax(arrays[0])

    def kernels(self) -> tuple[jit.Kernel, ...]:
        return (post._softmax,)

    def bound(self) -> float:
        return 4e-7


class TopK(PostStep):
    name = "top_k"
    defaults: ClassVar[dict[str, Any]] = {"k": ..., "names": None}

    def check(self) -> None:
        k = self._spec["k"]
        if not isinstance(k, int) or isinstance(k, bool) or k < 1:
            raise KernelOptionError("k must be a whole number above zero", where=self.name, why=repr(k))
        _check_names(self.name, self._spec["names"])

    def gives(self) -> str:
        named = "" if self._spec["names"] is None else ", labels"
        return f"the {self._spec['k']} best: values, indices{named}"

    def __call__(self, *arrays: Array) -> Any:
        return self._answers(*post.top_k(_rank(arrays[0], 2, self.name), self._spec["k"]))

    def reference(self, *arrays: Array) -> Any:
        values, indices = post_twin.top_k(arrays[0], self._spec["k"])
        return self._answers(values, np.where(np.isnan(values), -1, indices))

    def _answers(self, values: Array, indices: Array) -> list[dict[str, Any]]:
        names = _fitting(self.name, self._spec["names"], int(indices.max(initial=0)) + 1)
        answers: list[dict[str, Any]] = []
        for v, i in zip(values, indices, strict=True):
            answers.append({"values": v, "indices": i})
            if names is not None:
                answers[-1]["labels"] = [names[j] for j in i.tolist() if j >= 0]
        return answers

    def kernels(self) -> tuple[jit.Kernel, ...]:
        return (post._top_k,)


class Labels(PostStep):
    name = "labels"
    defaults: ClassVar[dict[str, Any]] = {"threshold": ..., "names": None}

    def check(self) -> None:
        self._spec["threshold"] = float(self._spec["threshold"])
        _check_names(self.name, self._spec["names"])

    def gives(self) -> str:
        return f"classes with a score of at least {self._spec['threshold']:g}, best first"

    def __call__(self, *arrays: Array) -> Any:
        return post.labels(_rank(arrays[0], 2, self.name), self._spec["threshold"], self._spec["names"])

    def reference(self, *arrays: Array) -> Any:
        names, answers = self._spec["names"], []
        for row in arrays[0].tolist():
            order = sorted((c for c, v in enumerate(row) if v >= np.float32(self._spec["threshold"])))
            order.sort(key=lambda c, row=row: -row[c])  # type: ignore[misc]
            answers.append(order if names is None else [names[c] for c in order])
        return answers

    def kernels(self) -> tuple[jit.Kernel, ...]:
        return ()


class DecodeBoxes(PostStep):
    name, array, reads = "decode_boxes", True, (1, 2)
    defaults: ClassVar[dict[str, Any]] = {
        "anchors": None,
        "variances": [1.0, 1.0, 1.0, 1.0],
        "limit": 4.135166556742356,
    }

    def check(self) -> None:
        spec = self._spec
        spec["variances"], spec["limit"] = [float(v) for v in spec["variances"]], float(spec["limit"])
        if len(spec["variances"]) != 4:
            raise KernelOptionError("four variances are needed", where=self.name, why=f"{spec['variances']}")
        if spec["anchors"] is not None:
            spec["anchors"] = np.asarray(spec["anchors"], np.float32).tolist()
            if np.asarray(spec["anchors"]).ndim != 2 or np.asarray(spec["anchors"]).shape[1] != 4:
                raise KernelOptionError("anchors must be [m, 4]", where=self.name)

    def gives(self) -> str:
        return "float32 boxes [m, 4]: x0, y0, x1, y1"

    def _pairs(self, arrays: Sequence[Array]) -> list[tuple[Array, Array]]:
        deltas = _rank(arrays[0], 3, self.name)
        if (len(arrays) == 2) == (self._spec["anchors"] is not None):
            raise KernelInputError("anchors come as an option or as a second input", where=self.name)
        anchors = arrays[1] if len(arrays) == 2 else np.asarray(self._spec["anchors"], np.float32)
        each = anchors if anchors.ndim == 3 else np.broadcast_to(anchors, (len(deltas), *anchors.shape))
        return list(zip(deltas, each, strict=True))

    def __call__(self, *arrays: Array) -> Any:
        options = (self._spec["variances"], self._spec["limit"])
        return np.stack([post.decode_boxes(d, np.ascontiguousarray(a), *options) for d, a in self._pairs(arrays)])

    def reference(self, *arrays: Array) -> Any:
        options = (tuple(self._spec["variances"]), self._spec["limit"])
        return np.stack([post_twin.decode_boxes(d, a, *options) for d, a in self._pairs(arrays)])

    def kernels(self) -> tuple[jit.Kernel, ...]:
        return (post._decode_boxes,)

    def bound(self) -> float:
        return 1e-5


class Nms(PostStep):
    name, reads = "nms", (2, 3)
    defaults: ClassVar[dict[str, Any]] = {"iou": ..., "score": 0.0, "most": 300, "names": None}

    def check(self) -> None:
        spec = self._spec
        spec["iou"], spec["score"] = float(spec["iou"]), float(spec["score"])
        if not 0 <= spec["iou"] <= 1 or not isinstance(spec["most"], int) or spec["most"] < 1:
            raise KernelOptionError(
                "nms cannot use these options", where=self.name, why=f"iou={spec['iou']}, most={spec['most']}"
            )
        _check_names(self.name, spec["names"])

    def gives(self) -> str:
        named = "" if self._spec["names"] is None else ", labels"
        return f"the boxes that stay, best first: boxes, scores, classes, indices{named}"

    def __call__(self, *arrays: Array) -> Any:
        return self._each(arrays, self._kernel)

    def reference(self, *arrays: Array) -> Any:
        return self._each(arrays, self._twin)

    def _kernel(self, boxes: Array, scores: Array, classes: Array) -> Array:
        spec = self._spec
        return post.nms(boxes, scores, spec["iou"], classes, spec["score"], spec["most"])

    def _twin(self, boxes: Array, scores: Array, classes: Array) -> Array:
        spec = self._spec
        taken = np.flatnonzero(scores >= np.float32(spec["score"]))
        kept = post_twin.nms(boxes[taken], scores[taken], spec["iou"], classes[taken])
        return taken[kept[: spec["most"]]]

    def _each(self, arrays: Sequence[Array], choose: Any) -> list[dict[str, Any]]:
        boxes, scores = _rank(arrays[0], 3, self.name), arrays[1]
        if scores.ndim not in (2, 3) or scores.shape[:2] != boxes.shape[:2] or boxes.shape[2] != 4:
            raise KernelInputError(
                "boxes [n, m, 4] and scores [n, m] or [n, m, classes] go together",
                where=self.name,
                why=f"{boxes.shape}, {scores.shape}",
            )
        given = arrays[2] if len(arrays) == 3 else None
        if given is not None and given.shape != scores.shape:
            raise KernelInputError("classes must be [n, m], as scores", where=self.name, why=f"{given.shape}")
        answers: list[dict[str, Any]] = []
        for i in range(len(boxes)):
            many = scores.ndim == 3
            place = np.arange(scores[i].size) // (scores.shape[2] if many else 1)
            group = np.arange(scores[i].size) % scores.shape[2] if many else np.zeros(len(place), np.int64)
            group = group if given is None else given[i].astype(np.int64)
            flat = np.ascontiguousarray(scores[i].reshape(-1))
            kept = choose(np.ascontiguousarray(boxes[i][place]), flat, group)
            answers.append(
                {"boxes": boxes[i][place[kept]], "scores": flat[kept], "classes": group[kept], "indices": place[kept]}
            )
            names = _fitting(self.name, self._spec["names"], int(group[kept].max(initial=-1)) + 1)
            if names is not None:
                answers[-1]["labels"] = [names[c] for c in group[kept].tolist()]
        return answers

    def kernels(self) -> tuple[jit.Kernel, ...]:
        return (post._nms,)


class CtcGreedy(PostStep):
    name = "ctc_greedy"
    defaults: ClassVar[dict[str, Any]] = {"blank": 0, "alphabet": None}

    def check(self) -> None:
        blank, alphabet = self._spec["blank"], self._spec["alphabet"]
        if not isinstance(blank, int) or isinstance(blank, bool) or blank < 0:
            raise KernelOptionError("blank must be a class", where=self.name, why=repr(blank))
        if isinstance(alphabet, str):
            self._spec["alphabet"] = list(alphabet)
        _check_names(self.name, self._spec["alphabet"])

    def gives(self) -> str:
        return "indices" if self._spec["alphabet"] is None else "text"

    def __call__(self, *arrays: Array) -> Any:
        return self._answers(post.ctc_greedy(_rank(arrays[0], 3, self.name), blank=self._spec["blank"]))

    def reference(self, *arrays: Array) -> Any:
        found = post_twin.ctc_greedy(arrays[0], self._spec["blank"])
        return self._answers([np.array(row, np.int64) for row in found])

    def _answers(self, rows: list[Array]) -> list[Any]:
        most = max((int(row.max(initial=-1)) for row in rows), default=-1)
        names = _fitting(self.name, self._spec["alphabet"], most + 1)
        return list(rows) if names is None else ["".join(names[c] for c in row.tolist()) for row in rows]

    def kernels(self) -> tuple[jit.Kernel, ...]:
        return (post._ctc,)


class Dequantize(PostStep):
    name, array, source = "dequantize", True, "integer"
    _inner: ClassVar[type[steps.QuantizeStep]] = steps.DequantizeStep

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._step = self._inner(options)
        self._spec = self._step.to_spec()

    def gives(self) -> str:
        return self._step.gives()[0][0]

    def __call__(self, *arrays: Array) -> Any:
        return self._step(arrays[0])[0]

    def reference(self, *arrays: Array) -> Any:
        return self._step.reference(arrays[0])[0]

    def kernels(self) -> tuple[jit.Kernel, ...]:
        return self._step.kernels()


class Quantize(Dequantize):
    name, source = "quantize", "float32"
    _inner = steps.QuantizeStep


KINDS: dict[str, type[PostStep]] = {
    step.name: step for step in (Softmax, TopK, Labels, DecodeBoxes, Nms, CtcGreedy, Dequantize, Quantize)
}


def make(name: str, options: Mapping[str, Any]) -> PostStep:
    """The step of that name. Raises KernelOptionError for an unknown one, and for options that it cannot use."""
    if name not in KINDS:
        raise KernelOptionError("there is no such post-processing", why=repr(name), fix=f"one of {', '.join(KINDS)}")
    made: PostStep = steps.sheltered(name, lambda: KINDS[name](options))
    return made


def step_of(kernel: Any) -> tuple[str, dict[str, Any]] | None:
    """(name, options) of a `PostProcess`; None for anything else."""
    return (kernel.name, dict(kernel.options)) if isinstance(kernel, post.PostProcess) else None


def _rank(array: Array, rank: int, where: str) -> Array:
    if array.ndim != rank:
        raise KernelInputError("an output has the wrong rank", where=where, why=f"shape {array.shape}, not {rank} axes")
    return array


def _check_names(where: str, names: Any) -> None:
    if names is not None and not (isinstance(names, list) and all(isinstance(n, str) for n in names)):
        raise KernelOptionError("names must be a list of texts", where=where, why=f"{names!r:.80}")


def _fitting(where: str, names: list[str] | None, classes: int) -> list[str] | None:
    if names is not None and len(names) < classes:
        raise KernelInputError("there are fewer names than classes", where=where, why=f"{len(names)} < {classes}")
    return names
