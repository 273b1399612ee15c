"""A torch module that answers rows and is timed as an ONNX Runtime session is (`weigh.model.session.Session`)."""

from __future__ import annotations

import copy
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weigh.model.module import load_module, reopened
from weigh.model.session import no_collection
from weigh.model.source import Source, embeds

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from weigh.model.session import Feed

SMALL = 64_000_000
"""Bytes of weights up to which a net is copied for each trial, so that where its buffers lie is drawn anew."""


class ModuleRunner:
    """One torch module, ready to run.

    Args:
        module: takes the inputs of the source; a Hugging Face encoder its tokens and their mask.
        pooled: average the token vectors of an encoder without a head over the mask, to length one.
        batch: rows of one run.
    """

    def __init__(self, module: Any, pooled: bool, threads: int, batch: int) -> None:
        self.module, self._pooled, self._threads, self._batch = module, pooled, threads, batch

    def fresh(self) -> ModuleRunner:
        """The same net at another place in memory, if it is small."""
        if sum(p.numel() * p.element_size() for p in self.module.parameters()) > SMALL:
            return self
        with warnings.catch_warnings():  # copying the graph of an archive, torch meets a warning of its own
            warnings.filterwarnings("ignore", message=r".isinstance\(treespec", category=FutureWarning)
            moved = copy.deepcopy(self.module)
        return ModuleRunner(moved, self._pooled, self._threads, self._batch)

    def answer(self, feed: Feed) -> NDArray[Any]:
        """Scores or vectors, shape (rows, width), float32."""
        import numpy as np

        rows = len(next(iter(feed.values())))
        parts = [
            self._run(self._tensors({name: values[start : start + self._batch] for name, values in feed.items()}))
            for start in range(0, rows, self._batch)
        ]
        return np.concatenate([part.float().numpy() for part in parts])

    def times(self, feed: Feed, warmup: int, runs: int) -> list[float]:
        """Milliseconds of each of `runs` runs, one after another, after `warmup` that do not count."""
        tensors, clock, taken = self._tensors(feed), time.perf_counter_ns, [0] * (warmup + runs)
        with no_collection():
            for i in range(warmup + runs):
                start = clock()
                self._run(tensors)
                taken[i] = clock() - start
        return [nanoseconds / 1e6 for nanoseconds in taken[warmup:]]

    def _tensors(self, feed: Feed) -> dict[str, Any]:
        import torch

        return {name: torch.from_numpy(values.copy()) for name, values in feed.items()}

    def _run(self, tensors: dict[str, Any]) -> Any:
        import torch

        if torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)
        with torch.inference_mode():
            if "input_ids" not in tensors:
                return scores_of(self.module, next(iter(tensors.values())))
            out = self.module(**tensors)
            return pooled(out.last_hidden_state, tensors["attention_mask"]) if self._pooled else out.logits


def scores_of(module: Any, rows: Any) -> Any:
    """What a net of one input says of rows; they are cast to the numbers that its weights have."""
    first = next((p for p in module.parameters() if p.is_floating_point()), None)
    return module(rows if first is None or not rows.is_floating_point() else rows.to(first.dtype))


def pooled(hidden: Any, mask: Any) -> Any:
    """Vectors of tokens averaged over their mask, to length one: (rows, width)."""
    import torch

    weight = mask.unsqueeze(-1).to(hidden.dtype)
    mean = (hidden * weight).sum(1) / weight.sum(1).clamp(min=1)
    return torch.nn.functional.normalize(mean.float(), dim=1)


def open_runner(path: Path, source: Source, threads: int, batch: int) -> ModuleRunner:
    """What an option made of `source`, loaded."""
    made = source if path == source.path else reopened(path, source)
    return ModuleRunner(load_module(made), embeds(source), threads, batch)
