"""The toy task, and options whose worth is known: one that must never be chosen, and twins that must tie."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, final

from pydantic import Field

from weigh.serve.runtime import Calibration, Runtime, RuntimeTask, Served, Setting
from weigh.serve.runtime.eager import Eager

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from weigh.model.source import Source


def write_toy(folder: Path, seed: int = 0) -> RuntimeTask:
    """A Llama of one layer and random weights, and words for it to read."""
    from weigh.model.toy import write_language_toy

    made = write_language_toy(folder, seed, layers=1)
    return RuntimeTask(
        model=made.model,
        data=made.data,
        prompt_tokens=8,
        rounds=120,
        runs=3,
        batch=2,
        batch_sizes=(2, 4),
        parity_rows=8,
    )


class _Late(Served):
    """Another's answers, later, or in an order of their own on the way."""

    def __init__(self, served: Served, wait: float, seed: int = 0) -> None:
        self._served, self._wait, self._seed = served, wait, seed

    def answer(self, feed: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        import numpy as np

        time.sleep(self._wait)
        order = np.random.default_rng(self._seed).permutation(len(next(iter(feed.values()))))
        return self._served.answer({name: values[order] for name, values in feed.items()})[np.argsort(order)]


@final
class Slow(Runtime):
    """The planted loser: eager, after a pause of 20 ms. Source: none."""

    name: ClassVar[str] = "slow"

    def convert(self, source: Source, calibration: Calibration, folder: Path) -> Path:
        return source.path

    def open(self, path: Path, source: Source, setting: Setting) -> Served:
        return _Late(Eager().open(path, source, setting), 0.02)


@final
class Rounded(Runtime):
    """A planted fault: eager's answers, to one decimal. Source: none."""

    name: ClassVar[str] = "rounded"

    def convert(self, source: Source, calibration: Calibration, folder: Path) -> Path:
        return source.path

    def open(self, path: Path, source: Source, setting: Setting) -> Served:
        return _Coarse(Eager().open(path, source, setting))


class _Coarse(Served):
    def __init__(self, served: Served) -> None:
        self._served = served

    def answer(self, feed: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        return self._served.answer(feed).round(1)


@final
class Shuffled(Runtime):
    """A planted twin: eager on rows in an order of its own, which changes nothing. Source: none."""

    name: ClassVar[str] = "shuffled"

    seed: int = Field(1, description="of the order")

    def convert(self, source: Source, calibration: Calibration, folder: Path) -> Path:
        return source.path

    def open(self, path: Path, source: Source, setting: Setting) -> Served:
        return _Late(Eager().open(path, source, setting), 0.0, self.seed)
