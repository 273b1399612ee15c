"""Tensors as the Open Inference Protocol v2 has them: JSON, and JSON with binary data behind it.

Source: Open Inference Protocol (KServe's V2), with Triton's binary tensor data extension.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Arrays = Mapping[str, NDArray[Any]]

NUMPY = {
    "BOOL": "?", "UINT8": "u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8", "INT8": "i1", "INT16": "<i2",
    "INT32": "<i4", "INT64": "<i8", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8", "BYTES": "O",
}  # fmt: skip
"""Datatypes of the protocol, and what NumPy calls them."""
ONNX = {
    "tensor(bool)": "BOOL", "tensor(uint8)": "UINT8", "tensor(uint16)": "UINT16", "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64", "tensor(int8)": "INT8", "tensor(int16)": "INT16", "tensor(int32)": "INT32",
    "tensor(int64)": "INT64", "tensor(float16)": "FP16", "tensor(float)": "FP32", "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
}  # fmt: skip
"""Types of ONNX, and the datatype of each."""


class BadRequest(ValueError):
    """The request cannot be answered; the text says what to send instead."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or output of a model: its datatype as the protocol names it, its shape with -1 for what is free."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    def metadata(self) -> dict[str, Any]:
        """As the protocol's model metadata has it."""
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}


@dataclass(slots=True)
class Asked:
    """One request, read and checked.

    Attributes:
        inputs: by name, in the model's types and shapes.
        id: as the client gave it; empty where it gave none.
        unit: whom the request is for, from ``parameters.unit``; empty where it does not say.
        wanted: output name -> whether it is sent as binary data.
    """

    inputs: dict[str, NDArray[Any]]
    id: str = ""
    unit: str = ""
    wanted: dict[str, bool] = field(default_factory=dict)


def read(body: bytes, header: int | None, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Asked:
    """One inference request.

    Args:
        body: as it came.
        header: bytes of JSON before binary data (``Inference-Header-Content-Length``); None where all is JSON.
        inputs, outputs: of the model that will answer.

    Raises:
        BadRequest: it is malformed, or not what the model takes.
    """
    if header is not None and not 0 < header <= len(body):
        raise BadRequest(f"Inference-Header-Content-Length is {header}, but the body has {len(body)} bytes")
    try:
        told = orjson.loads(body if header is None else memoryview(body)[:header])
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the body is no JSON: {error}; send an object with a list 'inputs'") from None
    if type(told) is not dict:
        raise BadRequest('the body is no object; send {"inputs": [{"name", "shape", "datatype", "data"}]}')
    given = told.get("inputs")
    if type(given) is not list or not given:
        raise BadRequest('\'inputs\' is no list of tensors; send {"name", "shape", "datatype", "data"} for each input')
    parameters = _parameters(told)
    known, at = {one.name: one for one in inputs}, header or 0
    feed: dict[str, NDArray[Any]] = {}
    for one in given:
        if type(one) is not dict:
            raise BadRequest('an input is no object; send {"name", "shape", "datatype", "data"}')
        name = one.get("name")
        tensor = known.get(name) if type(name) is str else None
        if tensor is None:
            raise BadRequest(f"the model takes no input {str(name)[:80]!r}; it takes {_names(inputs)}")
        if tensor.name in feed:
            raise BadRequest(f"input '{name}' is given twice")
        size = _parameters(one).get("binary_data_size")
        if size is None:
            feed[tensor.name] = _from_json(one, tensor)
        else:
            feed[tensor.name], at = _from_bytes(one, tensor, body, at, size, header)
    if missing := [name for name in known if name not in feed]:
        raise BadRequest(f"no input '{missing[0]}' was given; the model takes {_names(inputs)}")
    if header is not None and at != len(body):
        raise BadRequest(f"{len(body) - at} bytes follow the binary data of all inputs; check binary_data_size")
    _need_one_batch(feed, inputs)
    return Asked(feed, _text(told, "id"), _text(parameters, "unit"), _wanted(told, parameters, outputs))


class Written(NamedTuple):
    """An answer's body.

    Attributes:
        header: bytes of JSON before binary data; None where all is JSON.
        broken: the first output that holds NaN or infinity, which JSON has no word for but null; empty where none does.
    """

    body: bytes
    header: int | None
    broken: str


def write(asked: Asked, answers: Arrays, outputs: Sequence[Tensor], model: str, version: str) -> Written:
    """The answer's body."""
    import numpy as np

    told, tail, broken = [], [], ""
    for one in outputs:
        if asked.wanted and one.name not in asked.wanted:
            continue
        values = np.ascontiguousarray(answers[one.name])
        entry: dict[str, Any] = {"name": one.name, "datatype": one.datatype, "shape": list(values.shape)}
        finite = values.dtype.kind != "f" or bool(np.isfinite(values).all())
        broken = broken or ("" if finite else one.name)
        if asked.wanted.get(one.name):
            raw = _as_bytes(values, one)
            entry["parameters"] = {"binary_data_size": len(raw)}
            tail.append(raw)
        else:
            entry["data"] = _as_json(values, one, finite)
        told.append(entry)
    reply: dict[str, Any] = {"model_name": model, "model_version": version, "outputs": told}
    if asked.id:
        reply["id"] = asked.id
    head = orjson.dumps(reply, option=orjson.OPT_SERIALIZE_NUMPY)
    return Written(b"".join([head, *tail]), len(head), broken) if tail else Written(head, None, broken)


def _names(tensors: Sequence[Tensor]) -> str:
    return ", ".join(f"'{one.name}' ({one.datatype} {list(one.shape)})" for one in tensors)


def _parameters(told: Mapping[str, Any]) -> Mapping[str, Any]:
    found = told.get("parameters")
    if found is None:
        return {}
    if type(found) is not dict:
        raise BadRequest("'parameters' is no object")
    return found


def _text(told: Mapping[str, Any], name: str) -> str:
    found = told.get(name)
    if found is None:
        return ""
    if type(found) is not str or len(found) > 256 or not found.isprintable():
        raise BadRequest(f"'{name}' is no text of at most 256 printable characters")
    return found


def _wanted(told: Mapping[str, Any], parameters: Mapping[str, Any], outputs: Sequence[Tensor]) -> dict[str, bool]:
    """Outputs that are sent, and whether as bytes; empty where all are sent as JSON."""
    everything = bool(parameters.get("binary_data_output", False))
    asked = told.get("outputs")
    if asked is None or asked == []:
        return {one.name: True for one in outputs} if everything else {}
    if type(asked) is not list:
        raise BadRequest("'outputs' is no list; send [{\"name\": ...}], or leave it out for all")
    known, wanted = {one.name for one in outputs}, {}
    for one in asked:
        name = one.get("name") if type(one) is dict else None
        if type(name) is not str or name not in known:
            raise BadRequest(f"the model gives no output {str(name)[:80]!r}; it gives {_names(outputs)}")
        wanted[name] = bool(_parameters(one).get("binary_data", everything))
    return wanted


def _shape(one: Mapping[str, Any], tensor: Tensor) -> list[int]:
    """The shape that an input states, once it is one that the model takes."""
    shape, name = one.get("shape"), tensor.name
    if type(shape) is not list or any(type(size) is not int or size < 0 for size in shape):
        raise BadRequest(f"the shape of input '{name}' is no list of whole numbers from 0 on")
    if one.get("datatype") != tensor.datatype:
        raise BadRequest(f"input '{name}' is {tensor.datatype}, not {str(one.get('datatype'))[:40]}")
    if len(shape) != len(tensor.shape) or any(want not in (-1, size) for size, want in zip(shape, tensor.shape)):
        raise BadRequest(f"input '{name}' has the shape {list(tensor.shape)} (-1: any), not {shape[:8]}")
    if math.prod(shape) == 0:
        raise BadRequest(f"input '{name}' is empty: its shape is {shape}")
    return shape


def _from_json(one: Mapping[str, Any], tensor: Tensor) -> NDArray[Any]:
    import numpy as np

    shape, data, name = _shape(one, tensor), one.get("data"), tensor.name
    if type(data) is not list:
        raise BadRequest(f"the data of input '{name}' is no list")
    if tensor.datatype == "BYTES":
        return _strings(data, shape, name)
    kinds, deep = _kinds(data)
    if deep > 32 or not kinds <= (_BOOLS if tensor.datatype == "BOOL" else _NUMBERS):
        raise BadRequest(
            f"the data of input '{name}' is not all {tensor.datatype}: send plain numbers (true and false of BOOL)"
        )
    try:
        values = _unsigned(data) if tensor.datatype == "UINT64" else np.array(data)
    except ValueError:
        raise BadRequest(f"the data of input '{name}' is ragged; send {math.prod(shape)} values") from None
    if values.size != math.prod(shape):
        raise BadRequest(f"input '{name}' has {values.size} values, but its shape {shape} takes {math.prod(shape)}")
    return _typed(values, tensor).reshape(shape)


def _unsigned(data: list[Any]) -> NDArray[Any]:
    """Whole numbers below 2^64 as they are, which NumPy would round to floats where others are small."""
    import numpy as np

    plain = np.array(data)
    if plain.dtype.kind != "f":
        return plain
    exact = np.array(data, dtype=object)
    whole = all(type(one) is int and 0 <= one < 2**64 for one in exact.ravel())
    return exact.astype(np.uint64) if whole else plain


_NUMBERS, _BOOLS = {int, float}, {bool}


def _kinds(data: list[Any]) -> tuple[set[type], int]:
    """The types of all that stands in lists of lists, and how deep they go."""
    level: list[Any] = data
    found: set[type] = set()
    deep = 1
    while True:
        kinds = set(map(type, level))
        found |= kinds - {list}
        if list not in kinds or deep > 64:
            return found, deep
        level = [value for part in level if type(part) is list for value in part]
        deep += 1


def _typed(values: NDArray[Any], tensor: Tensor) -> NDArray[Any]:
    """Values in the datatype, once it is known to hold them."""
    import numpy as np

    want, name = np.dtype(NUMPY[tensor.datatype]), tensor.name
    if values.dtype.kind not in {"f": "iuf", "b": "b"}.get(want.kind, "iu"):
        raise BadRequest(
            f"the data of input '{name}' is not all {tensor.datatype}: send plain numbers (true and false of BOOL)"
        )
    if want.kind == "b":
        return values
    if want.kind == "f" and values.dtype.kind == "f" and not _within(values, float(np.finfo(want).max)):
        raise BadRequest(f"input '{name}' holds a value that {tensor.datatype} cannot: send finite numbers")
    with np.errstate(over="ignore"):
        made = values.astype(want)
    if want.kind == "f" and values.dtype.kind != "f" and not np.isfinite(made).all():
        raise BadRequest(f"input '{name}' holds a value that {tensor.datatype} cannot")
    if want.kind != "f" and not np.array_equal(made, values):
        raise BadRequest(f"input '{name}' holds a value that {tensor.datatype} cannot")
    return made


def _within(values: NDArray[Any], most: float) -> bool:
    return float(values.max()) <= most and float(values.min()) >= -most


def _strings(data: list[Any], shape: list[int], name: str) -> NDArray[Any]:
    import numpy as np

    flat: list[Any] = data
    while flat and type(flat[0]) is list:
        if any(type(part) is not list for part in flat):
            raise BadRequest(f"the data of input '{name}' is ragged")
        flat = [value for part in flat for value in part]
    if len(flat) != math.prod(shape) or any(type(value) is not str for value in flat):
        raise BadRequest(f"the data of input '{name}' is not {math.prod(shape)} texts, as its shape {shape} takes")
    made = np.empty(len(flat), dtype=object)
    made[:] = flat
    return made.reshape(shape)


def _from_bytes(
    one: Mapping[str, Any], tensor: Tensor, body: bytes, at: int, size: Any, header: int | None
) -> tuple[NDArray[Any], int]:
    """An input out of the binary data, and where the next one begins."""
    import numpy as np

    name, shape = tensor.name, _shape(one, tensor)
    if header is None:
        raise BadRequest("binary data needs the header Inference-Header-Content-Length: the bytes of JSON before it")
    if type(size) is not int or not 0 <= size <= len(body) - at:
        raise BadRequest(f"binary_data_size of input '{name}' is {str(size)[:40]}, but {len(body) - at} bytes are left")
    if "data" in one:
        raise BadRequest(f"input '{name}' has both 'data' and binary_data_size; send one")
    if tensor.datatype == "BYTES":
        return _unpacked(body[at : at + size], shape, name), at + size
    kind = np.dtype(NUMPY[tensor.datatype])
    if size != math.prod(shape) * kind.itemsize:
        raise BadRequest(
            f"input '{name}' has {size} bytes, but its shape {shape} takes {math.prod(shape) * kind.itemsize}"
        )
    values: NDArray[Any] = np.frombuffer(body, kind, math.prod(shape), at)
    if kind.kind == "b" and (values.view("u1") > 1).any():
        raise BadRequest(f"input '{name}' holds bytes that are neither 0 nor 1")
    if kind.kind == "f" and not np.isfinite(values).all():
        raise BadRequest(f"input '{name}' holds NaN or infinity: send finite numbers")
    return values.reshape(shape), at + size


def _unpacked(raw: bytes, shape: list[int], name: str) -> NDArray[Any]:
    """Texts, each behind its length in four bytes."""
    found, at = [], 0
    try:
        while at < len(raw):
            size = int.from_bytes(raw[at : at + 4], "little")
            if at + 4 + size > len(raw):
                raise BadRequest(f"the binary data of input '{name}' ends within a text")
            found.append(raw[at + 4 : at + 4 + size].decode())
            at += 4 + size
    except UnicodeDecodeError:
        raise BadRequest(f"input '{name}' holds bytes that are no UTF-8 text") from None
    return _strings(found, shape, name)


def _as_json(values: NDArray[Any], tensor: Tensor, finite: bool) -> Any:
    import numpy as np

    flat = values.ravel()
    if tensor.datatype == "BYTES":
        return [value.decode() if isinstance(value, bytes) else str(value) for value in flat]
    if not finite:
        return [float(one) if there else None for one, there in zip(flat, np.isfinite(flat))]
    return flat.astype("f4") if flat.dtype.str == "<f2" else flat


def _as_bytes(values: NDArray[Any], tensor: Tensor) -> bytes:
    if tensor.datatype != "BYTES":
        return values.astype(NUMPY[tensor.datatype], copy=False).tobytes()
    texts = [value if isinstance(value, bytes) else str(value).encode() for value in values.ravel()]
    return b"".join(len(text).to_bytes(4, "little") + text for text in texts)


def _need_one_batch(feed: Arrays, inputs: Sequence[Tensor]) -> None:
    """Raises `BadRequest` where inputs of a free first dimension have different numbers of rows."""
    if len(inputs) == 1:
        return
    rows = {one.name: feed[one.name].shape[0] for one in inputs if one.shape and one.shape[0] == -1}
    if len(set(rows.values())) > 1:
        raise BadRequest(f"inputs have different numbers of rows: {', '.join(f'{a} {b}' for a, b in rows.items())}")
