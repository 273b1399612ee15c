"""A torch module, or what torch made of one, that serves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, final

from weigh.serve.runtime import Served, Setting
from weigh.serve.runtime._net import names_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from weigh.model.source import Source


@final
class TorchServed(Served):
    """A function of tensors that gives one table of answers."""

    def __init__(self, net: Callable[..., Any], source: Source, setting: Setting) -> None:
        import torch

        self._net, self._names, self._threads = net, names_of(source), setting.threads
        torch.set_num_threads(setting.threads)

    def answer(self, feed: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        import torch

        if torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)
        given = [torch.from_numpy(feed[name].copy()) for name in self._names]
        with torch.inference_mode():
            made: NDArray[np.float32] = self._net(*given).float().numpy()
        return made


def examples(source: Source, rows: int, tokens: int) -> dict[str, NDArray[Any]]:
    """Inputs of the right shape that mean nothing.

    Raises:
        UsageError: nothing says what shape a row has.
    """
    import numpy as np

    if source.kind != "classifier":
        return {name: np.ones((rows, tokens), np.int64) for name in names_of(source)}
    from weigh.model.rows import DTYPES

    return {
        port.name: np.zeros((rows, *(size or 1 for size in port.shape[1:])), DTYPES[port.type])
        for port in source.inputs
    }
