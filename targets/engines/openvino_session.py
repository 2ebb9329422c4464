"""Sessions of OpenVINO: inputs bound once, requests that threads do not share, subsets of outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from neoc.compile.binding import Binding, Buffers, resized, unbound
from neoc.compile.contracts import Feeds, Session, Signature, TensorSpec, dtype_of
from neoc.compile.errors import FeedError
from neoc.targets.engines.openvino_errors import reason
from neoc.targets.engines.tensors import ELEMENT_TYPES, PACKED_BITS, chosen, closed, feed_check, pack, unpack

TYPES = {
    "bfloat16": "bf16",
    "float8_e4m3fn": "f8e4m3",
    "float8_e5m2": "f8e5m2",
    "float8_e8m0fnu": "f8e8m0",
    "float4_e2m1fn": "f4e2m1",
    "int4": "i4",
    "uint4": "u4",
}
"""dtypes that numpy lacks -> attribute of openvino.Type"""


class Compiler:
    """Compiles the whole model, or the part of it that some outputs need."""

    def __init__(self, core: Any, model: Any, properties: Mapping[str, str]) -> None:
        self._core, self._model, self._properties = core, model, properties

    def __call__(self, outputs: Sequence[int] | None = None) -> tuple[Any, bool]:
        """The compiled model, and whether any shape in it is only known at run."""
        import openvino

        model = self._model
        if outputs is not None:
            model = openvino.Model([model.output(i) for i in outputs], model.get_parameters(), model.friendly_name)
        return self._core.compile_model(model, "CPU", dict(self._properties)), model.is_dynamic()


class Importer:
    """Takes up what was compiled before: always the whole model."""

    def __init__(self, core: Any, blob: np.ndarray, properties: Mapping[str, str], dynamic: bool) -> None:
        self._core, self._blob, self._properties, self._dynamic = core, blob, dict(properties), dynamic

    def __call__(self, outputs: Sequence[int] | None = None) -> tuple[Any, bool]:
        import openvino

        if outputs is not None:
            raise ValueError("a compiled model cannot be cut")
        tensor = openvino.Tensor(self._blob, self._blob.shape, openvino.Type.u8)
        return self._core.import_model(tensor, "CPU", self._properties), self._dynamic


class OvSession(Session):
    """Any number of threads may call `run`; `concurrency` of them are served at once, the others wait inside OpenVINO.

    A subset of outputs is served by a model of its own, compiled when it is first asked for; of an imported model, by
    the whole one.
    """

    def __init__(self, compiler: Compiler | Importer, signature: Signature, keep: object) -> None:
        self.inputs, self.outputs = signature.inputs, signature.outputs
        self._check = feed_check(self.inputs)
        self._wide = [spec.name for spec in self.inputs if spec.dtype == "int64"]
        self._compiler, self._keep = compiler, keep
        self._names = [spec.name for spec in self.outputs]
        self._whole = _Part(compiler, self.inputs, self.outputs)
        self._parts: dict[tuple[str, ...], _Part] = {}
        self.concurrency = self._whole.concurrency

    def run(self, feeds: Feeds, outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        self._check(feeds)
        for name in self._wide:
            _refuse_wide(name, feeds[name])
        if outputs is None:
            return self._whole.run(feeds)
        names = chosen(outputs, self._names)
        if not names:
            return {}
        found = self._part(names).run(feeds)
        return found if len(found) == len(names) else {name: found[name] for name in names}

    def _part(self, names: Sequence[str]) -> _Part:
        key = tuple(sorted(set(names)))
        if len(key) == len(self._names) or isinstance(self._compiler, Importer):
            return self._whole
        part = self._parts.get(key)
        if part is None:
            indices = [i for i, name in enumerate(self._names) if name in key]
            part = _Part(partial(self._compiler, indices), self.inputs, [self.outputs[i] for i in indices])
            self._parts[key] = part
        return part

    def _bind(self, inputs: Feeds, outputs: Feeds) -> Binding:
        arrays = (*inputs.values(), *outputs.values())
        if not outputs or any(not array.size or array.dtype.name in ELEMENT_TYPES for array in arrays):
            return super()._bind(inputs, outputs)
        return OvBinding(self._part(list(outputs)), inputs, outputs, self._wide)

    def close(self) -> None:
        self._check = closed
        self._parts.clear()
        for name in ("_whole", "_compiler", "_keep"):
            self.__dict__.pop(name, None)


class _Part:
    """A compiled model and its idle requests: a call takes one, or makes one, so that no two calls share buffers."""

    def __init__(
        self, compiler: Callable[[], tuple[Any, bool]], inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
    ) -> None:
        self._compiler, self._all_inputs, self._outputs = compiler, inputs, list(outputs)
        self.generation = 0
        """how often the model was compiled: requests of an earlier generation are spoilt"""
        self._compile()
        self.concurrency = int(self._compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))

    def _compile(self) -> None:
        self._compiled, self._dynamic = self._compiler()
        self.generation += 1
        ports = {port.get_node().friendly_name: i for i, port in enumerate(self._compiled.inputs)}
        # An input that nothing uses is dropped by the compiler.
        self._inputs = [(ports[spec.name], spec) for spec in self._all_inputs if spec.name in ports]
        self._idle = [self._request()]

    def _request(self) -> _Request:
        return _Request(self._compiled.create_infer_request(), self._dynamic, self._inputs, self._outputs)

    @property
    def dynamic(self) -> bool:
        return self._dynamic

    def bare_request(self) -> tuple[Any, list[tuple[str, int]], list[str]]:
        """A request with nothing bound; the inputs that it takes with their places, the outputs in order."""
        bound = [(spec.name, index) for index, spec in self._inputs]
        return self._compiled.create_infer_request(), bound, [spec.name for spec in self._outputs]

    def recompile(self) -> None:
        """After a failed call of a model with open shapes.

        It leaves sizes behind in the graph: fed the same again, OpenVINO 2026.4 takes them for done and gives the
        results of an earlier call. Only a graph of its own is free of that.
        """
        self._compile()

    def run(self, feeds: Feeds) -> dict[str, np.ndarray]:
        idle = self._idle
        try:
            request = idle.pop()
        except IndexError:
            request = self._request()
        try:
            result = request.run(feeds)
        except RuntimeError as error:
            if self._dynamic:
                self.recompile()
            raise _rejected(error) from error
        idle.append(request)
        return result


class OvBinding(Binding):
    """A request of its own over the caller's buffers. Read-only inputs, which OpenVINO does not share, are copied.

    Where the model computes shapes at run the asynchronous call is made, for the reason that `_Request` gives.
    """

    def __init__(self, part: _Part, inputs: Feeds, outputs: Feeds, wide: Sequence[str]) -> None:
        from openvino._pyopenvino import InferRequest

        super().__init__(inputs, outputs)
        self._part = part
        self._wide = [(name, inputs[name]) for name in wide]
        self._infer: Callable[..., Any] = InferRequest.infer
        self._open()

    def _open(self) -> None:
        import openvino

        self._request, bound, order = self._part.bare_request()
        self._dynamic, self._generation = self._part.dynamic, self._part.generation
        self._staged: list[tuple[np.ndarray, np.ndarray]] = []
        for name, index in bound:
            array = self.inputs[name]
            if not array.flags.writeable:
                self._staged.append((array.copy(), array))
                array = self._staged[-1][0]
            self._request.set_input_tensor(index, openvino.Tensor(array, shared_memory=True))
        self._order = [(i, name, self.outputs[name]) for i, name in enumerate(order) if name in self.outputs]
        self._attach()

    def _attach(self) -> None:
        import openvino

        for index, _, array in self._order:
            self._request.set_output_tensor(index, openvino.Tensor(array, shared_memory=True))

    def run(self) -> Buffers:
        if self._request is None:
            raise unbound()
        for name, array in self._wide:
            _refuse_wide(name, array)
        for copy, array in self._staged:
            np.copyto(copy, array)
        if self._dynamic and self._generation != self._part.generation:
            self._open()  # a call of someone else failed, and spoilt the graph
        try:
            if not self._dynamic:
                self._infer(self._request, {}, True, True)
                return self.outputs
            self._request.start_async()
            self._request.wait()
        except RuntimeError as error:
            if self._dynamic:
                self._part.recompile()
            raise _rejected(error) from error
        self._check_sizes()
        return self.outputs

    def _check_sizes(self) -> None:
        """A result of another size than its buffer: OpenVINO has put a tensor of its own in the buffer's place."""
        for index, name, array in self._order:
            tensor = self._request.get_output_tensor(index)
            shape = tuple(tensor.shape)
            if shape != array.shape:
                self._attach()
                raise resized(name, array.shape, shape)

    def close(self) -> None:
        self._request = None
        self._staged = []


class _Request:
    """One inference request, its inputs bound to buffers that feeds are copied into.

    With one thread, OpenVINO 2026.4's synchronous call loses the exception of a shape that does not work out and gives
    the results of an earlier call instead; the asynchronous one raises it. So wherever such an exception can come (the
    model computes shapes at run, and a feed's size changed or its values may be sizes) the slower call is made.
    """

    def __init__(
        self, request: Any, dynamic: bool, inputs: Sequence[tuple[int, TensorSpec]], outputs: Sequence[TensorSpec]
    ) -> None:
        from openvino._pyopenvino import InferRequest

        self._request = request
        self._bound = [_Bound(request, index, spec) for index, spec in inputs]
        self._fixed: list[tuple[str, np.ndarray]] | None = None
        """the buffers themselves, where every input has the one size that it will ever have"""
        if all(spec.is_static and spec.dtype not in PACKED_BITS for _, spec in inputs):
            self._fixed = [(spec.name, bound.empty(spec)) for bound, (_, spec) in zip(self._bound, inputs, strict=True)]
        # The base class: the public wrapper prepares feeds and results anew on every call.
        self._infer: Callable[..., Any] = InferRequest.infer
        self._outputs = [(spec.name, spec.dtype if spec.dtype in ELEMENT_TYPES else None) for spec in outputs]
        self._names = [spec.name for spec in outputs]
        self._dynamic = dynamic
        # The synchronous call turns every output into an array, which these types are not.
        self._always = any(exotic for _, exotic in self._outputs)
        if dynamic:
            self._always |= any(dtype_of(spec.dtype).kind in "iub" for _, spec in inputs)
        self._proven = False
        """whether the last call went well, with the sizes that are bound now"""

    def run(self, feeds: Feeds) -> dict[str, np.ndarray]:
        if self._fixed is not None:
            for name, buffer in self._fixed:
                buffer[...] = feeds[name]
        else:
            for bound in self._bound:
                if bound.take(feeds[bound.name]):
                    self._proven = False
        if self._always or (self._dynamic and not self._proven):
            self._proven = False
            self._request.start_async()
            self._request.wait()
            self._proven = True
            return {name: self._result(index, exotic) for index, (name, exotic) in enumerate(self._outputs)}
        # Without sharing the results are copied once, by OpenVINO itself: arrays of the caller's own.
        return dict(zip(self._names, self._infer(self._request, {}, False, True).values(), strict=True))

    def _result(self, index: int, exotic: str | None) -> np.ndarray:
        tensor = self._request.get_output_tensor(index)
        if exotic is not None:
            return unpack(_bytes(tensor), exotic, list(tensor.shape))
        fresh: np.ndarray = tensor.data.copy()
        return fresh


def _bytes(tensor: Any) -> np.ndarray:
    """What lies in an output tensor. `data` is a view of another dtype where numpy has none of that kind."""
    flat: np.ndarray = tensor.data.reshape(-1)
    return flat.view(np.uint8)


class _Bound:
    """One input: a buffer of the size of the last feed, shared with the request."""

    def __init__(self, request: Any, index: int, spec: TensorSpec) -> None:
        self.name = spec.name
        self._request, self._index, self._dtype = request, index, spec.dtype
        self._buffer: np.ndarray | None = None
        self._shape: tuple[int, ...] | None = None

    def take(self, array: np.ndarray) -> bool:
        """Copy the feed in; whether its size is another than the last one's."""
        changed = array.shape != self._shape
        if changed:
            self._bind(array)
        source = pack(array) if self._dtype in PACKED_BITS else array
        np.copyto(self._buffer, source)  # type: ignore[arg-type]
        return changed

    def empty(self, spec: TensorSpec) -> np.ndarray:
        """The buffer of an input whose size is fixed, shared with the request."""
        self._bind(np.empty(tuple(d for d in spec.shape or () if isinstance(d, int)), dtype_of(spec.dtype)))
        assert self._buffer is not None
        return self._buffer

    def _bind(self, array: np.ndarray) -> None:
        import openvino

        if self._dtype in PACKED_BITS:
            self._buffer = raw = np.empty(-(-array.size * PACKED_BITS[self._dtype] // 8), np.uint8)
        else:
            self._buffer = np.empty(array.shape, dtype_of(self._dtype))
            raw = self._buffer.reshape(-1).view(np.uint8)
        kind = TYPES.get(self._dtype)
        element = openvino.Type(dtype_of(self._dtype)) if kind is None else getattr(openvino.Type, kind)
        self._request.set_input_tensor(self._index, openvino.Tensor(raw, list(array.shape), element))
        self._shape = array.shape


def _rejected(error: RuntimeError) -> FeedError:
    return FeedError(
        "openvino rejects these feeds",
        why=reason(str(error)),
        fix="feed values and sizes that the model accepts",
    )


def _refuse_wide(name: str, array: np.ndarray) -> None:
    """Raises FeedError where an int64 feed does not fit the 32 bits in which the plugin computes."""
    if array.size == 1:  # a scalar's method costs a twentieth of a reduction
        fits = -(2**31) <= array.item() < 2**31
    else:
        fits = not array.size or (array.max() < 2**31 and array.min() >= -(2**31))
    if not fits:
        raise FeedError(
            "openvino cannot take these values",
            where=f"input {name!r}",
            why="its CPU plugin computes int64 in 32 bits, and a value is beyond them",
            fix="compile with --engine onnxruntime for such values",
        )
