"""Raw items through a program's `pre`, the model and its `post`: what `Session.run_raw` runs.

    items -> pre steps -> feeds -> session.run -> outputs -> post steps -> one answer an item

Where the model's batch is bound to n, items go n at a time and the last batch is filled up with its last item; what
that gave is cut off before the post steps. Where the batch is open, `usual` many go together. An item that a step or
the model refuses fails alone: its error takes its place among the answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from neoc.compile.contracts import Dim, Feeds, Session, Signature, TensorSpec, dtype_of
from neoc.compile.errors import FeedError, MissingTool, NeocError, UsageError
from neoc.compile.process import bind_post, bind_pre
from neoc.kernels import answers, steps
from neoc.kernels.errors import KernelCompileError, KernelError
from neoc.kernels.jit import Kernel

Described = Mapping[str, Any]
"""{'name', 'options'} of one step, as the manifest keeps it"""


class RawSteps(Protocol):
    """What a session runs raw items with."""

    @property
    def slots(self) -> tuple[Slot, ...]:
        """The parts of an item."""
        ...

    def run(self, session: Session, items: Any) -> list[Any]: ...

    def as_dict(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Unusable:
    """Steps that this neoc cannot run: the model itself serves, and raw items get the reason."""

    error: NeocError
    slots: tuple[Slot, ...] = ()

    def run(self, session: Session, items: Any) -> list[Any]:
        raise self.error

    def as_dict(self) -> dict[str, Any]:
        return {"items": [], "answers": [], "batch": None}


def around(pre: Sequence[Described], post: Sequence[Described], signature: Signature) -> RawSteps | None:
    """The steps around a model as a manifest lists them; None where there are none. Never raises."""
    if not pre and not post:
        return None
    try:
        return RawPipeline(pre, post, signature)
    except UsageError as error:
        fix = "install the neoc that the artifact names, or a newer one; run() takes tensors all the same"
        return Unusable(UsageError("this neoc cannot run the artifact's steps", why=str(error), fix=fix))


@dataclass(frozen=True)
class Slot:
    """One part of an item: what a step makes tensors of, or a tensor that no step makes."""

    name: str
    kind: str
    """'image', 'row', 'tokens' or 'tensor'"""
    takes: str

    def as_dict(self) -> dict[str, str]:
        return {"name": self.name, "kind": self.kind, "takes": self.takes}


class Fed(NamedTuple):
    """A step and the graph inputs that it feeds."""

    step: steps.PreStep
    names: tuple[str, ...]


class Asked(NamedTuple):
    """A step, the outputs or earlier results that it reads, and the name of its own."""

    step: answers.PostStep
    names: tuple[str, ...]
    output: str


class RawPipeline:
    """The steps around one signature. Cheap to make: no kernel is compiled or loaded before the first item.

    pre, post: {'name', 'options'} of each step, `input` and `output` among the options. Calls may come from as many
    threads at once as the session allows. Raises UsageError for steps that this neoc does not know, or that do not fit.
    """

    def __init__(self, pre: Sequence[Described], post: Sequence[Described], signature: Signature) -> None:
        self.signature = signature
        before = [s.as_dict() for s in bind_pre(_declared(pre), signature)]
        after = [s.as_dict() for s in bind_post(_declared(post), signature)]
        self.declared = {"pre": before, "post": after}
        self.pre = tuple(Fed(steps.make(*_split(s)), tuple(s["options"]["input"])) for s in before)
        self.post = tuple(
            Asked(answers.make(*_split(s)), tuple(s["options"]["input"]), s["options"]["output"]) for s in after
        )
        self._specs = {spec.name: spec for spec in signature.inputs}
        made = {name for _, names in self.pre for name in names}
        self._tensors = [spec for spec in signature.inputs if spec.name not in made]
        self.batch_dim = self._leading([*(n for _, names in self.pre for n in names), *self._specs])
        self.slots = (
            *(Slot(names[0], s.item, s.takes()) for s, names in self.pre if s.item != "tensor"),
            *(Slot(spec.name, "tensor", self._sample_of(spec)) for spec in self._tensors),
        )
        self._read = {name for _, names, _ in self.post for name in names}
        results = [spec.name for spec in signature.outputs] + [name for _, _, name in self.post]
        self.answers = tuple(name for name in results if name not in self._read)
        self._outputs = [s.name for s in signature.outputs if s.name in {*self._read, *self.answers}]
        self.batch = self._batch_size()
        """items that the model takes at once; None: any number"""

    # ---- what it is ----

    def _leading(self, names: Sequence[str]) -> Dim:
        shape = self._specs[names[0]].shape if names else None
        return shape[0] if shape else None

    def is_batched(self, name: str) -> bool:
        """Whether an item's part for this input comes without the axis of items."""
        return self._is_batched(self._specs[name])

    def _is_batched(self, spec: TensorSpec) -> bool:
        """Whether the first axis of an input is that of the items."""
        return bool(spec.shape) and spec.shape is not None and spec.shape[0] == self.batch_dim

    def _may_be_batched(self, spec: TensorSpec) -> bool:
        """Of an output: exporters leave its first axis without a size or a name, or give it one of its own."""
        if not spec.shape:
            return spec.shape is None
        return spec.shape[0] == self.batch_dim or not isinstance(spec.shape[0], int)

    def _batch_size(self) -> int | None:
        shared = [s for s in self._tensors if not self._is_batched(s)]
        whole = [s for s in self.signature.outputs if s.name in self._outputs and not self._may_be_batched(s)]
        if isinstance(self.batch_dim, int):
            if self.batch_dim > 1 and (shared or whole):
                raise UsageError(
                    "answers cannot be told apart",
                    where=", ".join(str(s) for s in (*shared, *whole)),
                    why=f"{self.batch_dim} items go together, and these have no axis of {self.batch_dim} items",
                    fix="bind the batch to 1 with --input",
                )
            return self.batch_dim
        return 1 if shared or whole else None

    def _sample_of(self, spec: TensorSpec) -> str:
        if spec.shape is None or not self._is_batched(spec):
            return f"{spec} as it is"
        return str(TensorSpec(spec.name, spec.dtype, spec.shape[1:]))

    def as_dict(self) -> dict[str, Any]:
        """The raw signature, as the manifest keeps it."""
        named = {name: step.gives() for step, _, name in self.post}
        specs = {spec.name: str(spec) for spec in self.signature.outputs}
        return {
            "items": [slot.as_dict() for slot in self.slots],
            "answers": [{"name": name, "gives": named.get(name, specs.get(name, ""))} for name in self.answers],
            "batch": self.batch,
        }

    def kernels(self) -> tuple[Kernel, ...]:
        """Every kernel that items may need, each once."""
        every = [*(fed.step.kernels() for fed in self.pre), *(asked.step.kernels() for asked in self.post)]
        used = {kernel.name: kernel for kernels in every for kernel in kernels}
        return tuple(used[name] for name in sorted(used))

    def usual(self) -> int:
        """Items that go together where the batch is open."""
        return self.batch or min((s.usual for s, _ in self.pre if s.item != "tensor"), default=32)

    # ---- the call ----

    def run(self, session: Session, items: Any) -> list[Any]:
        """One answer an item: {name: value}, or the FeedError that took its place."""
        parts = Items(items, [slot.kind for slot in self.slots])
        found: list[object] = [None] * len(parts)
        size = self.usual()
        if isinstance(self.batch_dim, str):
            size = min(size, session.limits.get(self.batch_dim, size))
        for start in range(0, len(parts), size):
            self._solve(session, parts, list(range(start, min(start + size, len(parts)))), found)
        return found

    def _solve(self, session: Session, parts: Items, indices: list[int], found: list[object]) -> None:
        """Fill in the answers of a batch; what is refused is found by halving, and costs the others no place."""
        try:
            feeds = self.feeds(parts.pick(indices))
        except FeedError as error:
            refused = dict(self._refused(parts, indices, error))
            for index, own in refused.items():
                found[index] = own
            good = [i for i in indices if i not in refused]
            if refused and good:
                self._solve(session, parts, good, found)
            elif good:  # each is fine alone: they do not go together
                for index in good:
                    self._solve(session, parts, [index], found)
            return
        try:
            results = self.answer(session.run(self.filled(feeds), self._outputs), len(indices))
        except FeedError as error:
            if len(indices) == 1:
                found[indices[0]] = _of_item(error, indices[0])
                return
            half = len(indices) // 2
            self._solve(session, parts, indices[:half], found)
            self._solve(session, parts, indices[half:], found)
            return
        for index, result in zip(indices, results, strict=True):
            found[index] = result

    def _refused(self, parts: Items, indices: list[int], error: FeedError) -> list[tuple[int, FeedError]]:
        """The items that a step refuses; `error` is what it said of all of them."""
        if len(indices) == 1:
            return [(indices[0], _of_item(error, indices[0]))]
        half, found = len(indices) // 2, []
        for some in (indices[:half], indices[half:]):
            try:
                self.feeds(parts.pick(some))
            except FeedError as own:
                found += self._refused(parts, some, own)
        return found

    def feeds(self, items: Items, reference: bool = False) -> dict[str, np.ndarray]:
        """The model's feeds for these items, by the kernels or by their plain twins. Raises FeedError."""
        made: dict[str, np.ndarray] = {}
        try:
            for step, names in self.pre:
                given = made[names[0]] if step.item == "tensor" else items.part(names[0], self.slots)
                for name, tensor in zip(names, (step.reference if reference else step)(given), strict=True):
                    made[name] = _typed(tensor, self._specs[name])
        except KernelError as error:
            raise _as_feed_error(error) from error
        for spec in self._tensors:
            values = [np.asarray(v) for v in items.part(spec.name, self.slots)]
            made[spec.name] = self._stacked(values, spec)
        return made

    def _stacked(self, values: list[np.ndarray], spec: TensorSpec) -> np.ndarray:
        if not self._is_batched(spec):
            return values[0]
        if len({(v.shape, v.dtype) for v in values}) > 1:
            raise FeedError(
                "the tensors of these items do not stack",
                where=f"input {spec.name!r}",
                why=", ".join(sorted({f"{v.dtype} {v.shape}" for v in values})),
                fix=f"each must be {self._sample_of(spec)}",
            )
        return np.stack(values)

    def filled(self, feeds: Feeds) -> Feeds:
        """The feeds with the last item repeated until the model's batch is full."""
        if self.batch is None:
            return feeds
        filled = {}
        for name, array in feeds.items():
            short = self.batch - len(array) if self._is_batched(self._specs[name]) else 0
            filled[name] = np.concatenate([array, np.repeat(array[-1:], short, 0)]) if short > 0 else array
        return filled

    def answer(self, outputs: Mapping[str, Any], count: int) -> list[object]:
        """The answers of `count` items. Raises FeedError."""
        values = self.own(outputs, count)
        try:
            for step, names, output in self.post:
                values[output] = step(*(np.ascontiguousarray(values[name]) for name in names))
        except KernelError as error:
            raise _as_feed_error(error) from error
        return [{name: values[name][i] for name in self.answers} for i in range(count)]

    def own(self, outputs: Mapping[str, Any], count: int) -> dict[str, Any]:
        """The outputs with `count` items on their first axis, what a batch was filled up with cut off."""
        return {name: self._own(name, outputs[name], count) for name in self._outputs}

    def _own(self, name: str, value: Any, count: int) -> Any:
        """An output with the items on its first axis."""
        spec = next(s for s in self.signature.outputs if s.name == name)
        is_array = isinstance(value, np.ndarray)
        if self._may_be_batched(spec) and is_array and value.ndim and len(value) == (self.batch or count):
            return value[:count]
        if count == 1 and (self.batch or 1) == 1:
            return value[None] if is_array else [value]
        raise UsageError(
            "answers cannot be told apart",
            where=f"output {name!r}",
            why=f"{count} items gave {'an array of shape ' + str(value.shape) if is_array else type(value).__name__}",
            fix="bind the batch to 1 with --input",
        )


class Items:
    """Raw items of one call: a list, or a table whose rows are the items."""

    def __init__(self, items: Any, kinds: Sequence[str]) -> None:
        self._table = kinds == ["row"] and not isinstance(items, (list, tuple))
        if not self._table and not isinstance(items, (list, tuple, np.ndarray)):
            raise FeedError(
                "items come as a list",
                why=f"got {type(items).__name__}",
                fix="call run_raw([item, ...])" + (", or with a whole table" if "row" in kinds else ""),
            )
        self._items = items if self._table or isinstance(items, list) else list(items)

    def __len__(self) -> int:
        if not self._table:
            return len(self._items)
        if isinstance(self._items, Mapping):
            return min((len(column) for column in self._items.values()), default=0)
        rows = getattr(self._items, "num_rows", None)  # Arrow's
        try:
            return len(self._items) if rows is None else int(rows)
        except TypeError as error:
            raise FeedError("items come as a list or as a table", why=f"got {type(self._items).__name__}") from error

    def pick(self, indices: list[int]) -> Items:
        made = Items.__new__(Items)
        made._table = self._table
        made._items = _taken(self._items, indices) if self._table else [self._items[i] for i in indices]
        return made

    def part(self, name: str, slots: Sequence[Slot]) -> Any:
        """What the items hold for one slot: the items themselves where there is only one."""
        if len(slots) == 1:
            return self._items
        for item in self._items:
            if not isinstance(item, Mapping) or name not in item:
                raise FeedError(
                    "an item lacks a part",
                    where=f"input {name!r}",
                    why=f"it is {type(item).__name__}",
                    fix=f"give a mapping with {', '.join(slot.name for slot in slots)}",
                )
        return [item[name] for item in self._items]


def _taken(table: Any, indices: list[int]) -> Any:
    """Rows of a table, as a table of the same kind."""
    whole = indices == list(range(indices[0], indices[0] + len(indices))) if indices else False
    rows: Any = slice(indices[0], indices[0] + len(indices)) if whole else indices
    if isinstance(table, Mapping):
        return {name: np.asarray(column)[rows] for name, column in table.items()}
    if hasattr(table, "iloc"):
        return table.iloc[rows]
    if hasattr(table, "num_rows"):
        return table.slice(indices[0], len(indices)) if whole else table.take(indices)
    return table[rows]


def _typed(tensor: np.ndarray, spec: TensorSpec) -> np.ndarray:
    """bfloat16 comes from the kernels as its bits."""
    return tensor.view(dtype_of("bfloat16")) if spec.dtype == "bfloat16" and tensor.dtype == np.uint16 else tensor


def _declared(described: Sequence[Described]) -> list[dict[str, Any]]:
    return [{s["name"]: s["options"]} for s in described]


def _split(described: Described) -> tuple[str, dict[str, Any]]:
    """The name and the kernel's own options."""
    options = {key: value for key, value in described["options"].items() if key not in ("input", "output")}
    return described["name"], options


def _as_feed_error(error: KernelError) -> NeocError:
    if isinstance(error, KernelCompileError):
        return MissingTool(error.what, where=error.where, why=error.why, fix=error.fix)
    return FeedError(error.what, where=error.where, why=error.why, fix=error.fix)


def _of_item(error: FeedError, index: int) -> FeedError:
    own = "" if error.where in ("image 0", "row 0") else error.where  # its place in a batch of one says nothing
    where = f"item {index}, {own}" if own else f"item {index}"
    return FeedError(error.what, where=where, why=error.why, fix=error.fix)
