"""What the choice is tested with: the toy task, the planted loser and the twins."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from weigh.cause.experiment import Analysis, ExperimentTask
from weigh.cause.experiment._arms import Experiments, Readings
from weigh.cause.experiment._difference import Difference, difference, student
from weigh.choice import Needs

_NEEDS = Needs(packages=("scipy>=1.15",), extra="cause")


def toy(folder: Path, seed: int = 0) -> ExperimentTask:
    """400 units, a normal metric with correlation .7 to its past, and an effect of .31 of its deviation.

    Read at the end at alpha .01, Welch's test finds it in .70 of experiments, CUPED in .96. A small alpha is certified
    with fewer experiments.
    """
    import numpy as np
    import polars as pl

    rng = np.random.default_rng(seed)
    before = rng.normal(size=400)
    after = 0.7 * before + np.sqrt(1 - 0.7**2) * rng.normal(size=400)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "history.parquet"
    pl.DataFrame({"spend": 20 + 4 * after, "spend_before": 20 + 4 * before}).write_parquet(path)
    return ExperimentTask(history=path, metric="spend", covariate="spend_before", effect=1.25, alpha=0.01)


class Eager(Analysis):
    """Welch's test with an interval of half the width: finds more, and in a third of A/A tests finds what is not."""

    name: ClassVar[str] = "eager"
    needs: ClassVar[Needs] = _NEEDS

    def analyse(self, data: Experiments, alpha: float) -> Readings:
        made = difference(data)
        return student(Difference(made.effect, made.se / 2, made.df), alpha)


class Jittered(Analysis):
    """Welch's test through noise of its own, as if one unit in a thousand had been lost."""

    name: ClassVar[str] = "jittered"
    needs: ClassVar[Needs] = _NEEDS

    seed: int = Field(0, ge=0, description="of the noise")

    def analyse(self, data: Experiments, alpha: float) -> Readings:
        import numpy as np

        made, loss = difference(data), 0.001
        noise = np.random.default_rng([self.seed, data.seed]).normal(size=(len(made.effect), 1))
        effect = made.effect + np.sqrt(loss) * made.se * noise
        return student(Difference(effect, made.se * np.sqrt(1 + loss), made.df), alpha)
