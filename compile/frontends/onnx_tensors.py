"""Checks of TensorProto and TypeProto: the data is exactly what dtype and dims claim, or nothing is allocated."""

from __future__ import annotations

from math import prod

import onnx
import onnx_ir as ir

from neoc.compile.frontends.onnx_faults import fault, need_text, shown
from neoc.compile.onnx_data import Folder, bit_widths, nbytes

_T = onnx.TensorProto

_FIELD_OF: dict[int, str] = {
    # dtype -> the field of TensorProto that holds it where raw_data does not (onnx.proto, TensorProto)
    **dict.fromkeys((_T.FLOAT, _T.COMPLEX64), "float_data"),
    **dict.fromkeys((_T.DOUBLE, _T.COMPLEX128), "double_data"),
    **dict.fromkeys((_T.UINT32, _T.UINT64), "uint64_data"),
    _T.INT64: "int64_data",
    _T.STRING: "string_data",
}
_FIELDS = ("float_data", "int32_data", "string_data", "int64_data", "double_data", "uint64_data")
_MOST_ELEMENTS = 1 << 56
"""of a shape, sizes of zero left out: numpy's own bound is 2**63 bytes"""


def check_tensor(tensor: onnx.TensorProto, folder: Folder, where: str) -> None:
    """Raises InvalidModel unless dims are sizes, the dtype is known and the data is as long as both say."""
    need_text(tensor.name, where, "tensor name")
    where = f"tensor {shown(tensor.name)} in {where}"
    if any(dim < 0 for dim in tensor.dims):
        raise fault(where, f"its dims {_dims(tensor)} hold a negative size")
    if prod(max(dim, 1) for dim in tensor.dims) > _MOST_ELEMENTS:
        raise fault(where, f"its dims {_dims(tensor)} are larger than any memory")
    if tensor.data_type not in bit_widths() and tensor.data_type != _T.STRING:
        raise fault(where, f"data type {tensor.data_type} is unknown")
    if tensor.HasField("segment"):
        raise fault(where, "it is cut into segments, which no tool reads")
    if tensor.data_location == _T.EXTERNAL:
        folder.check(tensor)
        return
    _check_held(tensor, where)
    if bit_widths().get(tensor.data_type) == 6:
        _check_float6(tensor, where)


def _check_held(tensor: onnx.TensorProto, where: str) -> None:
    filled = [name for name in _FIELDS if len(getattr(tensor, name))]
    raw = len(tensor.raw_data) if tensor.HasField("raw_data") else None
    if raw == 0 and filled:  # an empty raw_data beside the values, as some exporters write it
        tensor.ClearField("raw_data")
        raw = None
    if (raw is not None and filled) or len(filled) > 1:
        raise fault(where, f"it holds its data more than once: {', '.join([*filled, 'raw_data'][: len(filled) + 1])}")
    if raw is not None:
        needed = nbytes(tensor.data_type, tensor.dims)
        if needed is None:
            raise fault(where, "strings cannot lie in raw_data")
        if raw != needed:
            raise fault(where, f"dims {_dims(tensor)} need {needed} bytes, and it holds {raw}")
        return
    field = _FIELD_OF.get(tensor.data_type, "int32_data")
    if filled and filled != [field]:
        raise fault(where, f"its data lies in {filled[0]}, where its dtype asks for {field}")
    needed, held = _entries(tensor), len(getattr(tensor, field))
    if held != needed:
        raise fault(where, f"dims {_dims(tensor)} need {needed} entries of {field}, and it holds {held}")
    if field == "string_data":
        _check_strings(tensor, where)


def _entries(tensor: onnx.TensorProto) -> int:
    """How many entries the typed field has: complex numbers take two, sub-byte dtypes of 2 and 4 bits are packed."""
    count: int = prod(tensor.dims)
    if tensor.data_type in (_T.COMPLEX64, _T.COMPLEX128):
        return 2 * count
    bits = bit_widths().get(tensor.data_type, 8)
    return -(-count * bits // 8) if bits in (2, 4) else count


def _check_strings(tensor: onnx.TensorProto, where: str) -> None:
    try:
        for text in tensor.string_data:
            text.decode()
    except UnicodeDecodeError as error:
        raise fault(where, f"{shown(text)} is not UTF-8 text") from error


def _check_float6(tensor: onnx.TensorProto, where: str) -> None:
    """Six-bit floats have unused bits that must be zero."""
    try:
        ir.serde.TensorProtoTensor(tensor).tobytes()
    except (ValueError, AssertionError) as error:
        raise fault(where, str(error)) from error


def _dims(tensor: onnx.TensorProto) -> str:
    return shown(list(tensor.dims))


def check_type(proto: onnx.TypeProto, where: str, needed: bool) -> None:
    """Raises InvalidModel for an unknown element type or a negative dim other than -1; `needed`: also for none at all.

    -1 is what several exporters write for an unknown dim.
    """
    kind = proto.WhichOneof("value")
    if kind in ("tensor_type", "sparse_tensor_type"):
        tensor = getattr(proto, kind)
        known = tensor.elem_type in bit_widths() or tensor.elem_type == _T.STRING
        if not known and (needed or tensor.elem_type != _T.UNDEFINED):
            raise fault(where, f"element type {tensor.elem_type} is unknown")
        for dim in tensor.shape.dim:
            if dim.HasField("dim_value") and dim.dim_value < -1:
                raise fault(where, f"its shape holds the negative size {dim.dim_value}")
            need_text(dim.dim_param, where, "dim name")
    elif kind in ("sequence_type", "optional_type"):
        check_type(getattr(proto, kind).elem_type, where, True)
    elif kind is None and needed:
        raise fault(where, "it has no type")
