"""Tensors of the protocol: every datatype there and back, as JSON and as bytes."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weigh.server.tensors import NUMPY, BadRequest, Tensor, read, write

NUMBERS = [one for one in NUMPY if one != "BYTES"]


def values_of(datatype: str, rows: int, seed: int) -> np.ndarray:
    rng, kind = np.random.default_rng(seed), np.dtype(NUMPY[datatype])
    if kind.kind == "b":
        return rng.random((rows, 3)) < 0.5
    if kind.kind == "f":
        return rng.normal(size=(rows, 3)).astype(kind)
    told = np.iinfo(kind)
    return rng.integers(told.min, told.max, size=(rows, 3), endpoint=True, dtype=kind)


@pytest.mark.parametrize("datatype", NUMBERS)
@pytest.mark.parametrize("nested", [False, True])
def test_numbers_come_back_as_they_went(datatype: str, nested: bool):
    values, port = values_of(datatype, 4, 1), (Tensor("x", datatype, (-1, 3)),)
    told = {"name": "x", "shape": [4, 3], "datatype": datatype}
    asked = read(
        json.dumps({"inputs": [told | {"data": (values if nested else values.ravel()).tolist()}]}).encode(),
        None,
        port,
        port,
    )
    np.testing.assert_array_equal(asked.inputs["x"], values)
    assert asked.inputs["x"].dtype == np.dtype(NUMPY[datatype])
    found = json.loads(write(asked, {"x": values}, port, "m", "1").body)["outputs"][0]
    np.testing.assert_array_equal(np.array(found["data"], NUMPY[datatype]).reshape(found["shape"]), values)


@pytest.mark.parametrize("datatype", NUMBERS)
def test_numbers_come_back_as_bytes(datatype: str):
    values, port = values_of(datatype, 4, 2), (Tensor("x", datatype, (-1, 3)), Tensor("z", "FP32", (-1,)))
    told = [
        {"name": "z", "shape": [2], "datatype": "FP32", "data": [1, 2]},
        {"name": "x", "shape": [4, 3], "datatype": datatype, "parameters": {"binary_data_size": values.nbytes}},
    ]
    head = json.dumps({"inputs": told, "outputs": [{"name": "x", "parameters": {"binary_data": True}}]}).encode()
    ports = (port[0], Tensor("z", "FP32", (2,)))
    asked = read(head + values.tobytes(), len(head), ports, port[:1])
    np.testing.assert_array_equal(asked.inputs["x"], values)
    made = write(asked, {"x": values}, port[:1], "m", "1")
    assert made.header is not None and made.body[made.header :] == values.tobytes()


@pytest.mark.parametrize("texts", [["a", "", "Zoë \U0001f600", "a\nb"]])
def test_texts_come_back_as_they_went(texts: list[str]):
    port = (Tensor("t", "BYTES", (-1, 2)),)
    told = {"name": "t", "shape": [2, 2], "datatype": "BYTES"}
    asked = read(json.dumps({"inputs": [told | {"data": texts}]}).encode(), None, port, port)
    assert asked.inputs["t"].ravel().tolist() == texts
    raw = b"".join(len(one.encode()).to_bytes(4, "little") + one.encode() for one in texts)
    head = json.dumps({"inputs": [told | {"parameters": {"binary_data_size": len(raw)}}]}).encode()
    assert read(head + raw, len(head), port, port).inputs["t"].ravel().tolist() == texts
    for cut in (raw[:-1], raw + b"\1\0", b"\xff\xff\xff\xff", raw[:4]):
        wrong = json.dumps({"inputs": [told | {"parameters": {"binary_data_size": len(cut)}}]}).encode()
        with pytest.raises(BadRequest):
            read(wrong + cut, len(wrong), port, port)


def test_numbers_that_json_cannot_say_are_null_and_told():
    port = (Tensor("y", "FP32", (-1,)),)
    asked = read(b'{"inputs":[{"name":"y","shape":[2],"datatype":"FP32","data":[1,2]}]}', None, port, port)
    made = write(asked, {"y": np.array([1.5, np.nan, np.inf], "f4")}, port, "m", "1")
    assert made.broken == "y" and json.loads(made.body)["outputs"][0]["data"] == [1.5, None, None]


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)


@given(
    shape=JUNK,
    data=JUNK,
    name=st.sampled_from(["x", "y", ""]) | JUNK,
    datatype=st.sampled_from(list(NUMPY)) | JUNK,
    more=JUNK,
)
def test_whatever_is_sent_is_read_or_refused(shape: Any, data: Any, name: Any, datatype: Any, more: Any):
    port = (Tensor("x", "FP32", (-1, 2)), Tensor("t", "BYTES", (1,)))
    told = {"inputs": [{"name": name, "shape": shape, "datatype": datatype, "data": data}, more], "outputs": more}
    with contextlib.suppress(BadRequest):
        read(json.dumps(told).encode("utf-8", "surrogatepass"), None, port, port)


@given(raw=st.binary(max_size=200), header=st.integers(-5, 300))
def test_whatever_bytes_are_sent_are_refused(raw: bytes, header: int):
    port = (Tensor("x", "FP32", (-1, 2)),)
    with pytest.raises(BadRequest):
        read(raw, header, port, port)


@pytest.mark.parametrize("data", [["a" * 100_000, *[1] * 5000], [[1.0, "a"]], [None, 1.0], [1.0, True], [[[1.0]], 2.0]])
def test_mixed_values_are_refused_before_numpy_widens_them(data: list[Any]):
    port = (Tensor("x", "FP32", (-1,)),)
    told = {"inputs": [{"name": "x", "shape": [len(data)], "datatype": "FP32", "data": data}]}
    with pytest.raises(BadRequest):
        read(json.dumps(told).encode(), None, port, port)


@pytest.mark.parametrize("depth", [40, 500, 1000])
def test_deep_lists_are_refused(depth: int):
    port = (Tensor("x", "FP32", (-1,)),)
    data = b"[" * depth + b"1.0" + b"]" * depth
    with pytest.raises(BadRequest):
        read(b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":' + data + b"}]}", None, port, port)


def test_whole_numbers_beyond_half_precision_are_refused():
    port = (Tensor("x", "FP16", (-1,)),)
    with pytest.raises(BadRequest, match="cannot"):
        read(b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP16","data":[70000]}]}', None, port, port)
