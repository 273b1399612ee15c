"""BentoML: a service of one worker, its input an array of a stated type and shape."""

from __future__ import annotations

from typing import Annotated

import _session
import bentoml
import numpy as np
from bentoml.validators import DType, Shape


@bentoml.service(workers=1, logging={"access": {"enabled": False}}, traffic={"timeout": 30})
class Net:
    """The net."""

    def __init__(self) -> None:
        self.session = _session.opened()

    @bentoml.api(route="/infer")
    async def infer(self, x: Annotated[np.ndarray, DType("float32"), Shape((1, 64))]) -> np.ndarray:
        scores: np.ndarray = self.session.run(None, {"x": x})[0]
        return scores
