"""The limit: the net in ONNX Runtime in a loop, without and with the reading and writing of JSON."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.serve.net import Net


class Runtime:
    """One session, one thread, in this process."""

    def __init__(self, net: Net) -> None:
        import orjson

        from benchmarks.serve.setup import tensors
        from weigh.model.session import load_session

        self._session = load_session(net.path, 1)
        self._feeds = [{"x": row[None]} for row in net.rows]
        self._bodies = [orjson.dumps(tensors([round(float(one), 4) for one in row])) for row in net.rows]

    def _bare(self, place: int) -> None:
        self._session.run(["scores"], self._feeds[place])

    def _with_json(self, place: int) -> None:
        import orjson

        one = orjson.loads(self._bodies[place])["inputs"][0]
        rows = np.array(one["data"], np.float32).reshape(one["shape"])
        scores = self._session.run(["scores"], {one["name"]: rows})[0]
        output = {"name": "scores", "datatype": "FP32", "shape": list(scores.shape), "data": scores.ravel()}
        orjson.dumps({"model_name": "net", "outputs": [output]}, option=orjson.OPT_SERIALIZE_NUMPY)

    def rates(self, seconds: float) -> tuple[float, float]:
        """Runs a second: bare, and from the bytes of a request to the bytes of its answer."""
        return _rate(self._bare, len(self._feeds), seconds), _rate(self._with_json, len(self._feeds), seconds)


def _rate(run: Callable[[int], None], places: int, seconds: float) -> float:
    clock, count = time.perf_counter, 0
    start = clock()
    while clock() < start + seconds:
        for place in range(places):
            run(place)
        count += places
    return count / (clock() - start)
