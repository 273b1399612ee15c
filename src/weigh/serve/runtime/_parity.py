"""How far answers are from eager's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from weigh.model.source import embeds

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from weigh.model.source import Source


class WrongOutput(RuntimeError):
    """A runtime does not give the model's answers to within the tolerance."""


class FellBack(RuntimeError):
    """A runtime runs elsewhere than it was told to."""


def gap(mine: NDArray[Any], eager: NDArray[Any], source: Source) -> float:
    """The greatest difference: of log-probabilities in nats, of others relative to eager's greatest answer."""
    import numpy as np

    mine, eager = (one.astype(np.float64) for one in (mine, eager))
    if source.kind == "language":
        return float(np.abs(log_softmax(mine) - log_softmax(eager)).max())
    return float(np.abs(mine - eager).max() / max(float(np.abs(eager).max()), 1e-12))


def log_softmax(scores: NDArray[Any]) -> NDArray[np.float64]:
    """Log-probabilities of rows of scores; those of log-probabilities are themselves."""
    import numpy as np

    shifted = scores - scores.max(1, keepdims=True)
    made: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return made


def checked(mine: NDArray[Any], eager: NDArray[Any], source: Source, allowed: float, spec: str) -> float:
    """The gap.

    Raises:
        WrongOutput: it is beyond what is allowed, or no number, or the answers have another shape.
    """
    if mine.shape != eager.shape:
        raise WrongOutput(f"{spec} gave answers of the shape {mine.shape}; eager gives {eager.shape}")
    found = gap(mine, eager, source)
    if not found <= allowed:
        unit = "nats of log-probability" if source.kind == "language" else "of the greatest answer"
        wrong = 1 - sum(agreement(mine, eager, source, allowed)) / len(mine)
        raise WrongOutput(
            f"{spec} differs from eager by {found:.3g} {unit}, more than the tolerance of {allowed:g}, on {len(mine)} "
            f"rows, {wrong:.0%} of which it answers otherwise: it computes something else, or too coarsely; give the "
            "task another tolerance=... if that is meant"
        )
    return found


def agreement(mine: NDArray[Any], eager: NDArray[Any], source: Source, allowed: float) -> list[float]:
    """How far each row's answer is eager's, in [0, 1]."""
    import numpy as np

    if embeds(source):
        lengths = np.linalg.norm(mine, axis=1) * np.linalg.norm(eager, axis=1)
        cosine = (mine * eager).sum(1) / np.maximum(lengths, 1e-12)
        return np.clip(np.nan_to_num(cosine), 0.0, 1.0).astype(float).tolist()
    if eager.shape[1] == 1:
        near = np.abs(mine - eager).ravel() <= allowed * max(float(np.abs(eager).max()), 1e-12)
        return near.astype(float).tolist()
    return (np.nan_to_num(mine, nan=-np.inf).argmax(1) == eager.argmax(1)).astype(float).tolist()
