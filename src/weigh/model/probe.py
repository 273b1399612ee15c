"""Sentence vectors judged by labels: the nearest centre, as the original model's vectors place the centres."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weigh.choice import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from weigh.model.task import Calibration


@dataclass(frozen=True, slots=True)
class Probe:
    """Answers with the label whose mean vector (of the original model, over the calibration texts) is the nearest.

    All options are read by the same centres, so that what is judged is whether vectors may be swapped for the
    original's, as an index that was built with the original demands.
    """

    names: tuple[str, ...] = ()
    centres: NDArray[np.float32] | None = None
    kind: str = "nearest"
    output: str = "embedding"

    def fitted(self, original: Any, calibration: Calibration) -> Probe:
        """With the centres of the calibration texts' labels.

        Raises:
            UsageError: they have no labels, or fewer than two kinds.
        """
        import numpy as np

        if calibration.labels is None:
            raise UsageError(
                "an encoder is judged by labels whose centres come from labelled texts; leave calibration=... out, so "
                "that a part of `data` is taken for that"
            )
        labels = calibration.labels.astype(str)
        names = tuple(sorted(set(labels.tolist())))
        if len(names) < 2:
            raise UsageError("the texts for calibration have one label only; give more of them: calibration_rows=...")
        vectors = original.answer(calibration.feeds)
        centres = np.stack([vectors[labels == name].mean(0) for name in names])
        return Probe(names, centres / np.linalg.norm(centres, axis=1, keepdims=True))

    def truth(self, labels: NDArray[Any], label: str) -> NDArray[Any]:
        """Labels as text."""
        return labels.astype(str)

    def answers(self, raw: Any) -> NDArray[Any]:
        """The label of the nearest centre, by cosine; none where a vector is no number."""
        import numpy as np

        assert self.centres is not None
        near = np.array(self.names)[np.nan_to_num(raw @ self.centres.T, nan=-np.inf).argmax(1)]
        return np.where(np.isnan(raw).any(1), "", near)

    def match(self, answers: NDArray[Any], truth: NDArray[Any]) -> NDArray[np.float64]:
        """1 where they are the same, else 0."""
        return (answers == truth).astype(float)
