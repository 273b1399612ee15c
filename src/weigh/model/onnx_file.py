"""The model that the user brings: checked before anything is made of it, and unpickled only at the user's word."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weigh.choice import UsageError
from weigh.model.pickled import as_onnx, is_pickle
from weigh.model.source import Port, Source, not_numbers, reason

if TYPE_CHECKING:
    import onnx

SIGNATURES = (
    (0, b"PK\x03\x04", "a ZIP archive (PyTorch .pt and Keras .keras files are such)"),
    (0, b"\x89HDF", "an HDF5 file (Keras .h5)"),
    (0, b"GGUF", "a GGUF file (llama.cpp)"),
    (4, b"TFL3", "a TensorFlow Lite file"),
    (4, b"ORTM", "an ONNX Runtime .ort file"),
    (8, b"{", "a safetensors file"),
    (0, b"\x1f\x8b", "a gzip file"),
    (0, b"PAR1", "a Parquet file"),
    (0, b"\x93NUMPY", "a NumPy array"),
)


def open_model(path: Path, trust: bool = False) -> Source:
    """Check the file and read what goes in and comes out; with `trust` a pickled scikit-learn model is converted first.

    Raises:
        UsageError: it is no ONNX model (the text names what it looks like), it is damaged, it keeps its weights
            elsewhere, ONNX Runtime cannot load it, or its inputs insist on different numbers of rows.
    """
    import onnxruntime

    from weigh.model.session import load_errors, load_session

    content = path.read_bytes()
    if trust and is_pickle(content):
        path = as_onnx(path, content)
        content = path.read_bytes()
    _check(path, content)
    try:
        session = load_session(path, threads=1)
    except load_errors() as error:
        if lost := re.search(r"([\w.]*:?\w+)\(-?\d+\) is not a registered function/op", str(error)):
            raise UsageError(
                f"model={path} uses the operator {lost[1].lstrip(':')}, which ONNX Runtime {onnxruntime.__version__} "
                "does not have; export the model without it, or give the torch model that it was exported from"
            ) from None
        raise UsageError(
            f"{path} is an ONNX model that ONNX Runtime {onnxruntime.__version__} cannot load: {reason(error)}; "
            "export it again for an opset that this version knows"
        ) from None
    if not session.get_inputs():
        raise UsageError(f"{path} takes no inputs, so that no rows can be given to it; export it with its inputs")
    inputs, outputs = ([_port(one) for one in ports] for ports in (session.get_inputs(), session.get_outputs()))
    _need_one_batch(path, inputs)
    digest = hashlib.sha256(content).hexdigest()
    return Source(path, "onnx", "classifier", digest, inputs=tuple(inputs), outputs=tuple(outputs))


def _need_one_batch(path: Path, inputs: Sequence[Port]) -> None:
    fixed = {port.name: port.shape[0] for port in inputs if port.shape and port.shape[0] is not None}
    if len(set(fixed.values())) > 1:
        sizes = ", ".join(f"'{name}' {size}" for name, size in fixed.items())
        raise UsageError(
            f"the inputs of {path} insist on different numbers of rows ({sizes}), but a row has one value of each; "
            "export the model with the first dimension of its inputs free"
        )


def _check(path: Path, content: bytes) -> None:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        model = onnx.load_model_from_string(content)
        external = any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in _tensors(model))
        if not external:
            onnx.checker.check_model(model)
            _need_numbers(path, model.graph)
    except (DecodeError, onnx.checker.ValidationError) as error:
        raise UsageError(
            f"model={path} is no ONNX model: it looks like {_looks_like(content)} ({reason(error)}); "
            + _instead(content)
        ) from None
    if external:
        raise UsageError(
            f"model={path} keeps its weights in another file; write one file, so that its size and its content are "
            f"those of the model: onnx.save(onnx.load('{path.name}'), 'one_file.onnx', save_as_external_data=False)"
        )


def _need_numbers(path: Path, graph: onnx.GraphProto) -> None:
    """Raises `UsageError` when a weight holds NaN or an infinity; single numbers may be bounds, as those of a mask, and
    constants in the graph may be masks.
    """
    import numpy as np
    import onnx

    for name, tensor, weight in _held(graph):
        if tensor.data_type in (1, 10, 11, 16) and len(tensor.dims):
            values = onnx.numpy_helper.to_array(tensor).astype(np.float64)
            if bad := int(np.isnan(values).sum() + (np.isinf(values).sum() if weight and values.ndim > 1 else 0)):
                raise UsageError(not_numbers(path, name, bad, values.size))


def _held(graph: onnx.GraphProto) -> Iterator[tuple[str, onnx.TensorProto, bool]]:
    """Name, values, and whether they are an initializer, of all that a graph and the graphs in it hold."""
    import onnx

    for tensor in graph.initializer:
        yield tensor.name, tensor, True
    for sparse in graph.sparse_initializer:
        yield sparse.values.name, sparse.values, True
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                yield node.output[0] if node.output else node.name, attribute.t, False
            elif attribute.type == onnx.AttributeProto.FLOATS:
                yield f"{attribute.name} of {node.op_type}", _listed(attribute.floats), False
            for inner in (attribute.g, *attribute.graphs):
                yield from _held(inner)


def _listed(values: Sequence[float]) -> onnx.TensorProto:
    import onnx

    return onnx.helper.make_tensor("", onnx.TensorProto.FLOAT, [len(values)], values)


def _tensors(message: Any) -> Iterator[onnx.TensorProto]:
    """Every tensor of a model: weights, attributes of nodes, subgraphs and functions included."""
    import onnx

    if isinstance(message, onnx.TensorProto):
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in value if field.is_repeated else (value,):
                yield from _tensors(part)


def _looks_like(content: bytes) -> str:
    if not content:
        return "an empty file"
    for offset, signature, name in SIGNATURES:
        if content[offset:].startswith(signature):
            return name
    if is_pickle(content):
        return "a Python pickle (joblib, scikit-learn), not opened unless you type --trust: it can run any code"
    head = content[:512]
    if all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head):
        return "text" if not head.lstrip().startswith((b"{", b"[")) else "JSON"
    return "an ONNX file that is cut off or damaged"


def _instead(content: bytes) -> str:
    """What to give in place of a file that is no ONNX model."""
    torch = ""
    if content.startswith(b"PK"):
        torch = (
            "of a torch net give torch.export.save(torch.export.export(net, (rows,)), 'net.pt2'), or its weights, "
            "safetensors.torch.save_file(net.state_dict(), 'net.safetensors'), with architecture=net.py:build; else "
        )
    return f"{torch}export the model to ONNX first (skl2onnx, torch.onnx.export, tf2onnx), or copy the file again"


def _port(one: object) -> Port:
    shape = tuple(size if isinstance(size, int) and size > 0 else None for size in one.shape)  # type: ignore[attr-defined]
    return Port(one.name, one.type, shape)  # type: ignore[attr-defined]


def operators(graph: onnx.GraphProto) -> str:
    """The operators of a graph, in order of appearance, for people."""
    return ", ".join(dict.fromkeys(node.op_type for node in graph.node))
