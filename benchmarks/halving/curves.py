"""Learning curves whose truth is known: every option trained to the end, several times, and judged on every row.

Each unit is a row that one of an option's models tells right or wrong. Units are drawn with replacement, the row for
all options alike and the model for each by itself, so that the truth of an option on a rung is the mean of its table,
and two contestants that share a table are twins of exactly equal worth.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weigh.data.cache import cache_folder, replacing

EPOCHS = (1, 3, 9, 27, 81)
TRAINING, MODELS = 300, 12
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Curves:
    """Contestants and what their models told right.

    Attributes:
        name: of the family.
        options: names of the contestants.
        table: which table each contestant draws from; twins share one, shape (options,).
        right: shape (tables, rungs, models, rows).
    """

    name: str
    options: tuple[str, ...]
    table: NDArray[np.intp]
    right: NDArray[np.bool_]

    @property
    def truth(self) -> NDArray[np.float64]:
        """The true share of rows told right, shape (options, rungs)."""
        return self.right.mean(axis=(2, 3))[self.table]

    @property
    def best(self) -> NDArray[np.intp]:
        """The contestants that are best at the end."""
        ends = self.truth[:, -1]
        return np.flatnonzero(ends == ends.max())

    def behind(self) -> NDArray[np.float64]:
        """By how much the best at the end is behind the leader of each rung, shape (rungs,)."""
        found: NDArray[np.float64] = self.truth.max(axis=0) - self.truth[self.best[0]]
        return found

    def draw(self, rows: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Fresh units of every rung, shape (options, rungs, rows)."""
        _, rungs, models, all_rows = self.right.shape
        values = np.empty((len(self.options), rungs, rows))
        for rung in range(rungs):
            row = rng.integers(all_rows, size=rows)
            model = rng.integers(models, size=(len(self.options), rows))
            values[:, rung] = self.right[self.table[:, None], rung, model, row[None, :]]
        return values


def families() -> list[Curves]:
    """All families."""
    return [apart(), alike(), digits()]


def apart(options: int = 30, rows: int = 2000) -> Curves:
    """Simulated curves that never cross, and a twin of the best."""
    ends = np.concatenate([[0.92], np.linspace(0.91, 0.6, options - 1)])
    truth = ends[:, None] - np.array([0.25, 0.14, 0.07, 0.03, 0.0])
    names = (*(f"option-{place}" for place in range(options)), "twin-of-option-0")
    return Curves("simulated, curves never cross", names, np.append(np.arange(options), 0), _told(truth, rows))


def alike(options: int = 8, rows: int = 2000) -> Curves:
    """Simulated twins: all of equal worth."""
    truth = 0.92 - np.array([[0.25, 0.14, 0.07, 0.03, 0.0]])
    names = tuple(f"twin-{place}" for place in range(options))
    return Curves("simulated, all of equal worth", names, np.zeros(options, dtype=np.intp), _told(truth, rows))


def _told(truth: NDArray[np.float64], rows: int) -> NDArray[np.bool_]:
    """Models that tell a share of the rows right; half of what makes a row hard is the same for all."""
    from scipy.stats import norm

    rng = np.random.default_rng(0)
    ease = (rng.normal(size=rows) + rng.normal(size=(*truth.shape, MODELS, rows))) / np.sqrt(2)
    told: NDArray[np.bool_] = ease < norm.ppf(truth)[..., None, None]
    return told


def digits() -> Curves:
    """Real curves: thirty settings of scikit-learn's SGDClassifier and MLPClassifier on digits; a twin of the best."""
    path = cache_folder() / f"bench-halving-{_VERSION}-{TRAINING}-{MODELS}.npz"
    if not path.exists():
        names, right = zip(*_trained())
        with replacing(path) as temporary, temporary.open("wb") as stream:
            np.savez_compressed(stream, names=np.array(names), right=np.stack(right))
    with np.load(path) as kept:
        names, right = tuple(map(str, kept["names"])), kept["right"]
    best = int(right[:, -1].mean(axis=(1, 2)).argmax())
    table = np.append(np.arange(len(names)), best)
    return Curves("digits, real curves", (*names, f"twin of {names[best]}"), table, right)


def _trained() -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Each setting, trained from rung to rung with each seed: shape (rungs, models, rows)."""
    from sklearn.datasets import load_digits
    from sklearn.linear_model import SGDClassifier
    from sklearn.neural_network import MLPClassifier

    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    x, y = images[order] / 16.0, labels[order]
    rates = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)
    settings: list[tuple[str, float, dict[str, Any]]] = [("linear", rate, {}) for rate in rates]
    settings += [("network", rate, {"hidden_layer_sizes": (width,)}) for width in (8, 32, 128) for rate in rates]
    settings += [("network", rate, {"hidden_layer_sizes": (32, 32), "activation": "tanh"}) for rate in rates]
    for kind, rate, other in settings:
        models = []
        for seed in range(MODELS):
            if kind == "linear":
                made = SGDClassifier(loss="log_loss", learning_rate="constant", eta0=rate, random_state=seed)
            else:
                made = MLPClassifier(learning_rate_init=rate, batch_size=32, random_state=seed, **other)
            models.append(_climbed(made, x, y))
        said = "-".join(str(value) for value in other.values())
        yield f"{kind} {said} {rate}".replace("  ", " "), np.stack(models, axis=1)


def _climbed(made: object, x: NDArray[np.float64], y: NDArray[np.intp]) -> NDArray[np.bool_]:
    """What one model tells right on each rung, shape (rungs, rows)."""
    told = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a rate may be absurd on purpose
        for done, epochs in zip((0, *EPOCHS), EPOCHS, strict=False):
            for _ in range(done, epochs):
                made.partial_fit(x[:TRAINING], y[:TRAINING], classes=range(10))  # type: ignore[attr-defined]
            told.append(made.predict(x[TRAINING:]) == y[TRAINING:])  # type: ignore[attr-defined]
    return np.stack(told)
