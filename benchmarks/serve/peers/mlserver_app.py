"""MLServer: a custom runtime, as its documents have one, with its codec for NumPy."""

from __future__ import annotations

import _session
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Net(MLModel):  # type: ignore[misc]
    """The net."""

    async def load(self) -> bool:
        self.session = _session.opened()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        one = payload.inputs[0]
        scores = self.session.run(None, {one.name: NumpyCodec.decode_input(one)})[0]
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("scores", scores)])
