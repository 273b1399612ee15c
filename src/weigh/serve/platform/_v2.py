"""The Open Inference Protocol v2 over HTTP, tensors as JSON, from the asking side.

Source: KServe, Open Inference Protocol, version 2 (github.com/kserve/open-inference-protocol).
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TYPES = {
    "float32": "FP32", "float64": "FP64", "float16": "FP16", "int64": "INT64", "int32": "INT32", "int16": "INT16",
    "int8": "INT8", "uint8": "UINT8", "bool": "BOOL", "object": "BYTES",
}  # fmt: skip


def body(feed: Mapping[str, NDArray[Any]], names: Sequence[str] = ()) -> bytes:
    """An inference request.

    Args:
        names: how the server calls the inputs, in the order of the feed; as the feed does when empty.
    """
    inputs = [
        {"name": name, "shape": list(values.shape), "datatype": TYPES[str(values.dtype)],
         "data": values.ravel().tolist()}
        for name, values in zip(names or feed, feed.values(), strict=True)
    ]  # fmt: skip
    return json.dumps({"inputs": inputs}, separators=(",", ":")).encode()


def answer(text: bytes, output: str = "") -> NDArray[np.float32]:
    """The scores of an inference response, shape (rows, width).

    Args:
        output: which one; the first where there is none of that name.
    """
    import numpy as np

    outputs = json.loads(text)["outputs"]
    one = next((one for one in outputs if one["name"] == output), outputs[0])
    values = np.array(one["data"], np.float32).reshape(one["shape"])
    return values.reshape(len(values), -1)


def ask(url: str, data: bytes | None = None, method: str = "", seconds: float = 30.0, **head: str) -> bytes:
    """The body of an answer to one request.

    Raises:
        RuntimeError: it was refused; the text is what the server said.
        OSError: nothing answers.
    """
    kind = {"Content-Type": "application/json"} if data else {}
    made = urllib.request.Request(url, data, {**kind, **head}, method=method or None)
    try:
        with urllib.request.urlopen(made, timeout=seconds) as got:
            whole: bytes = got.read()
            return whole
    except urllib.error.HTTPError as error:
        with error:
            said = error.read().decode(errors="replace")
        raise RuntimeError(f"{method or 'GET'} {url} was answered with {error.code}: {said[:400]}") from None
