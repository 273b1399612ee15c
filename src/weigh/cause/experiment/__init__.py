"""Which analysis an experiment should be judged by, measured on the user's own history.

A history without an effect is replayed as many experiments: as it is (an A/A test: what an analysis finds there is
false) and with an effect planted. `analyse` then reads a real experiment by the analysis that won, and `sample_ratio`
says whether its arms have the sizes that they should.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, final

from pydantic import Field, field_validator

from weigh.cause.experiment._arms import Arm, Experiments, Readings, Units
from weigh.cause.experiment._finding import BadExperiment, Finding, analyse
from weigh.cause.experiment._srm import SampleRatio, sample_ratio
from weigh.choice import Choice, Measure, Option, Task

if TYPE_CHECKING:
    from weigh.cause.experiment._bench import Replay

__all__ = [
    "Analysis", "Arm", "BadExperiment", "Experiment", "ExperimentTask", "Experiments", "Finding", "Readings",
    "SampleRatio", "Units", "analyse", "sample_ratio",
]  # fmt: skip


class ExperimentTask(Task):
    """A history of the metric, and how experiments on it will be run and read."""

    history: Path = Field(description="table of past units: one row a unit, or several rows (see `unit`)")
    metric: str = Field(description="column of the metric: what the experiment should move")
    effect: float = Field(description="effect to plant, in units of the metric: the smallest that would matter")
    relative: bool = Field(False, description="the effect is a share of the metric's mean (0.02 is 2 %)")
    plant: Literal["auto", "add", "scale", "convert"] = Field(
        "auto", description="how treated units get the effect: `add` it to each, `scale` each, or `convert` some from "
        "0 to what others have (or back); auto: convert for a metric of two values, scale for one that is never "
        "negative where the effect is relative or a tenth of the units are at 0, else add",
    )  # fmt: skip
    covariate: str = Field("", description="column with a value of each unit from before the experiment, for CUPED")
    time: str = Field(
        "", description="column of the arrival (date, datetime or day number); without it arrivals are even"
    )
    unit: str = Field(
        "",
        description="column of the unit of randomisation; its rows are averaged (read daily, they must be of one day). "
        "Empty: a row is a unit",
    )
    days: int = Field(28, ge=1, le=1000, description="planned days of an experiment")
    units: int = Field(
        0, ge=0, description="units in an experiment, both arms together; 0: as many as history has in `days`"
    )
    looks: Literal["end", "daily"] = Field(
        "end", description="read once at the end, or daily and stop at the first finding"
    )
    share: float = Field(0.5, gt=0, lt=1, description="share of the units that are treated")
    alpha: float = Field(0.05, gt=0, lt=0.5, description="error rate that the analysis promises")
    experiments: int = Field(6000, ge=100, description="experiments to simulate at most")

    @field_validator("effect")
    @classmethod
    def _some(cls, effect: float) -> float:
        if effect == 0 or not math.isfinite(effect):
            raise ValueError("no effect can be found where none is planted: give the smallest effect that would matter")
        return effect


class Analysis(Option):
    """Reads experiments: an interval for the effect at each look. Finds one where the interval leaves out 0."""

    any_time: ClassVar[bool] = False
    """Whether the error rate holds however often one looks, and whenever one stops."""
    by_unit: ClassVar[bool] = False
    """Whether it reads unit by unit, which takes so much longer that the exhibits simulate fewer experiments."""

    @abstractmethod
    def analyse(self, data: Experiments, alpha: float) -> Readings:
        """The effect (treated minus control), its interval and p-value, each of shape (experiments, looks).

        Args:
            data: any number of experiments, at one or more looks, by their counts, means and variances (`data.control`,
                `data.treated`) or unit by unit (`data.units()`).
            alpha: chance of an interval that leaves out the true effect, at most.

        Raises:
            Unfit: the data lack what the analysis needs.
        """


def _share(name: str, better: Literal["lower", "higher"], meaning: str, low: float = 0.0) -> Measure:
    return Measure(
        name=name, unit="of experiments", better=better, kind="mean", low=low, meaning=meaning, tolerance=0.02
    )


@final
class Experiment(Choice):
    """Welch, CUPED, sequential or bootstrap?"""

    name = "cause/experiment"
    question = "By which analysis should an experiment be judged?"
    measures = (
        _share("power", "higher", "the planted effect is found, with its sign, under the task's looks"),
        _share("false_positives", "lower", "an effect is found where there is none, under the task's looks"),
        _share("excess_false_positives", "lower", "false positives beyond the promised alpha", low=-1.0),
        _share("false_positives_at_end", "lower", "an effect is found where there is none, at the last look alone"),
        Measure(
            name="duration", unit="of the planned days", better="lower", kind="mean", tolerance=0.02,
            meaning="days until the planted effect is found, or all days; read once: days until the interval would "
            "be as narrow as the effect is large",
        ),
        _share("misses", "lower", "when the experiment stops, its interval leaves out the planted effect"),
    )  # fmt: skip
    cost = "duration"
    baseline = "welch"
    require = ("excess_false_positives <= 0.02",)
    task = ExperimentTask
    option = Analysis
    assumptions = {
        "metric and covariate spread and correlate as they did in the history": "race again on newer history",
        "people look as often as the task says": "somebody stops an experiment on a day that was not planned",
        "the covariate is known before assignment": "analyse() stops when its mean differs between the arms",
        "arms get the shares that they should": "analyse() stops when the sample ratio is off",
    }

    def open(self, task: ExperimentTask, seed: int) -> Replay:
        from weigh.cause.experiment._bench import Replay

        return Replay(task, seed)

    def toy(self, folder: Path, seed: int = 0) -> ExperimentTask:
        """400 units whose past explains half of their metric, read once: CUPED is right."""
        from weigh.cause.experiment._planted import toy

        return toy(folder, seed)

    def loser(self) -> Analysis:
        """Intervals of half the width they should have."""
        from weigh.cause.experiment._planted import Eager

        return Eager()

    def twins(self) -> tuple[Analysis, Analysis]:
        """Welch's test, twice, each through a little noise of its own."""
        from weigh.cause.experiment._planted import Jittered

        return Jittered(seed=1), Jittered(seed=2)
