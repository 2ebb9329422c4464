"""The child of neoc.compile.passes.native: onnx's shape inference and version converter behind a pipe. Run as a script.

A request is a job ('i' or 'c'), a version, a length and a ModelProto. An answer is 'y', a length and a ModelProto, or
'n', a length and a text.
"""

from __future__ import annotations

import struct
import sys

import onnx
import onnx.shape_inference
import onnx.version_converter

REQUEST, ANSWER = struct.Struct("<cqQ"), struct.Struct("<cQ")


def answer(job: bytes, version: int, data: bytes) -> tuple[bytes, bytes]:
    """Raises nothing that Python can raise here: whatever the tools refuse is told as text."""
    proto = onnx.load_model_from_string(data)
    try:
        if job == b"i":
            done = onnx.shape_inference.infer_shapes(proto, check_type=False, strict_mode=False, data_prop=True)
        else:
            done = onnx.version_converter.convert_version(proto, version)
        return b"y", done.SerializeToString()
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError, IndexError) as error:
        return b"n", (str(error) or type(error).__name__).encode()


def main() -> None:
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    while head := source.read(REQUEST.size):
        job, version, length = REQUEST.unpack(head)
        verdict, data = answer(job, version, source.read(length))
        sink.write(ANSWER.pack(verdict, len(data)) + data)
        sink.flush()


if __name__ == "__main__":
    main()
