"""How often to retrain: policies are replayed over the user's own history, at the user's costs.

The replay is prequential. Every morning a policy may put a new model into service, made of the labels that have
arrived by then; the rows of the day are predicted by what is in service. Each (training window, model) is fitted once
and shared by all policies. Blocks are weeks in order of time: the race chooses on the earlier ones, and what it chose
is judged on later ones.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias, final

from pydantic import Field

from weigh.choice import Bench, Choice, Measure, Needs, Option, Task, content_digest
from weigh.retrain.cadence._day import Day

__all__ = ["Action", "Cadence", "CadenceChoice", "CadenceTask", "Day"]

Action: TypeAlias = Literal["keep", "retrain", "update"]
"""What a policy does on a morning: leave the model, fit a new one, or put the incremental learner into service."""

DEAREST = 10.0
"""The greatest cost of a block that the measures allow, in errors a prediction."""


class CadenceTask(Task):
    """A past period with its outcomes, the model that is fitted to it, and what errors and retrainings cost."""

    history: Path = Field(description="table with one row a prediction, in order of time")
    time: str = Field(description="column: when the prediction was made (a date or a datetime)")
    label: str = Field(description="column: what came out; rows without a value are left out")
    features: tuple[str, ...] = Field(
        min_length=1,
        description="columns known at prediction: numbers, booleans, texts (of a text's values, the 30 most "
        "frequent of each training window have a column, and 200 at most over all windows)",
    )
    label_time: str = Field(
        "", description="column: from when on the label was known; empty: `delay` after the prediction"
    )
    delay: float = Field(0.0, ge=0, description="days from prediction to label, where there is no `label_time`")
    key: str = Field("", description="column that must be different in every row; empty: not checked")
    estimator: str = Field(
        "sklearn.linear_model:LogisticRegression",
        description="scikit-learn classifier as module:Class, or a function annotated to return one (a pipeline)",
    )
    params: dict[str, Any] = Field({}, description="what the estimator is made with")
    online: str = Field(
        "",
        description="incremental learner as module:Class; empty: the estimator itself where its partial_fit works, "
        "else a logistic regression by stochastic gradient descent",
    )
    online_params: dict[str, Any] = Field({}, description="what the incremental learner is made with")
    train_days: int = Field(60, ge=1, description="a model is fitted to the labels that arrived in so many last days")
    start_days: int = Field(0, ge=0, description="days of history before the replay starts; 0: `train_days`")
    block_days: int = Field(7, ge=1, description="days that make one block of the race")
    loss: Literal["error", "brier", "log"] = Field(
        "error",
        description="what a prediction costs: 1 if wrong; Brier score; or log loss, cut at a probability of 0.001 and "
        "divided by its largest value (all three lie between 0 and 1)",
    )
    retraining_cost: float = Field(ge=0, description="what one retraining costs, in your money")
    error_cost: float = Field(1.0, gt=0, description="what a loss of 1 (a wrong prediction) costs, in your money")
    update_cost: float | None = Field(
        None,
        ge=0,
        description="what one day's incremental update costs, in your money; by default `retraining_cost / train_days`",
    )
    seed: int = Field(0, description="of estimators that use randomness")

    def fingerprint(self) -> str:
        """As of every task; covers also the versions, or the bytes, of what the estimators are imported from."""
        from weigh.retrain.cadence._source import sources

        return content_digest([super().fingerprint(), sources([self.estimator, self.online])])


class Cadence(Option, ABC):
    """A policy over time: a pure function of what is known on a morning, so that one can take over from another."""

    needs: ClassVar[Needs] = Needs(packages=("scikit-learn>=1.7", "threadpoolctl>=3.5"), extra="retrain")

    @abstractmethod
    def act(self, day: Day) -> Action:
        """What to do on the morning of `day`, asked from the second day on (on the first the model is new)."""


@final
class CadenceChoice(Choice):
    """`retrain/cadence`."""

    name = "retrain/cadence"
    question = "How often should this model be retrained, given what errors and retrainings cost?"
    measures = (
        Measure(
            name="cost",
            unit="errors a prediction",
            better="lower",
            kind="mean",
            high=DEAREST,
            serial=True,
            tolerance=0.002,
            meaning="cost of a block, errors and retrainings, in errors; divided by the rows of an average block",
        ),
        Measure(
            name="error",
            unit="",
            better="lower",
            kind="mean",
            serial=True,
            meaning="mean loss of a block's predictions",
        ),
        Measure(
            name="retrainings",
            unit="a day",
            better="lower",
            kind="mean",
            serial=True,
            meaning="new models put into service a day; an incremental update is one",
        ),
        Measure(
            name="regret",
            unit="errors a prediction",
            better="lower",
            kind="mean",
            low=-DEAREST,
            high=DEAREST,
            serial=True,
            meaning="cost above that of the best schedule in hindsight, in the same unit as cost",
        ),
    )
    cost = "cost"
    baseline = "never"
    task = CadenceTask
    option = Cadence
    assumptions: ClassVar[Mapping[str, str]] = {
        "models age as they did in the replayed period": "compare the error of the model in service with the curve of "
        "error by model age",
        "labels arrive as late as in the replayed period": "watch the age of the newest label",
        "a retraining and an error cost what the task says": "decide again when either price changes by half",
        "what was cheapest so far goes on being so": "decide again every quarter; the table of choosing on the past "
        "shows what that was worth",
    }

    def open(self, task: CadenceTask, seed: int) -> Bench:
        from weigh.retrain.cadence._bench import CadenceBench
        from weigh.retrain.cadence._build import replay_of

        return CadenceBench(task, replay_of(task), seed)

    def toy(self, folder: Path, seed: int = 0) -> CadenceTask:
        from weigh.retrain.cadence._toy import square_root_law

        return square_root_law(folder, seed)

    def loser(self) -> Option:
        from weigh.retrain.cadence._planted import Restless

        return Restless()

    def twins(self) -> tuple[Option, Option]:
        from weigh.retrain.cadence._planted import Dice

        return Dice(salt=1), Dice(salt=2)
