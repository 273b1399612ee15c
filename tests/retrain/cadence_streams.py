"""Small histories, a classifier that counts its fits, and a replay written the slow and plain way."""

from __future__ import annotations

import threading
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from sklearn.linear_model import LogisticRegression

from weigh import catalog
from weigh.retrain.cadence import CadenceChoice, CadenceTask
from weigh.retrain.cadence._replay import Replay
from weigh.retrain.cadence._toy import turning

START = datetime(2024, 1, 1, tzinfo=UTC)
CHOICE = CadenceChoice()
FIXED = ("never", "daily", "weekly", "every:days=14", "monthly", "quarterly")


class Counting(LogisticRegression):
    """A logistic regression that counts fits, and fails at one of them on demand."""

    fits = 0
    fail_at = 0
    lock = threading.Lock()

    def fit(self, X, y, sample_weight=None):
        with Counting.lock:
            Counting.fits += 1
            if Counting.fits == Counting.fail_at:
                raise MemoryError("the machine went down")
        return super().fit(X, y, sample_weight)


def stream(
    days: int, rows: int, seed: int, drift: float = 0.0, delay: tuple[float, float] = (0.1, 3.0)
) -> pl.DataFrame:
    """Two features, a category and a label whose relation moves by `drift` a day; labels come after `delay` days."""
    draw = np.random.default_rng(seed)
    moment = np.sort(draw.uniform(0, days, days * rows))
    x = draw.standard_normal((moment.size, 2))
    group = draw.choice(["a", "b", "c"], moment.size)
    score = x[:, 0] + drift * moment * x[:, 1] + (group == "a") + 0.5 * draw.standard_normal(moment.size)
    late = moment + draw.uniform(*delay, moment.size)
    return pl.DataFrame(
        {
            "time": [START + timedelta(days=float(when)) for when in moment],
            "x": x[:, 0],
            "z": x[:, 1],
            "group": group,
            "label": np.where(score > 0.3, "yes", "no"),
            "label_time": [START + timedelta(days=float(when)) for when in late],
        }
    )


def task_of(path: Path, frame: pl.DataFrame, **changes) -> CadenceTask:
    frame.write_parquet(path)
    settings = {
        "history": path,
        "time": "time",
        "label": "label",
        "label_time": "label_time",
        "features": ("x", "z"),
        "params": {"solver": "newton-cholesky", "tol": 1e-8},
        "train_days": 10,
        "retraining_cost": 2.0,
    }
    return CadenceTask.model_validate({**settings, **changes})


def random_replay(days: int, seed: int, online: bool = True) -> Replay:
    """Tables of losses that no model made; one cell a day, known the morning after."""
    draw = np.random.default_rng(seed)
    later = np.triu(np.ones((days, days)))
    rows = draw.integers(5, 20, days)
    losses = [draw.uniform(0, 1, (days, days)) * rows * later for _ in range(2)]
    return Replay(
        first="2024-03-01",
        start=10,
        train_days=10,
        cell_starts=np.arange(days + 1),
        cell_arrival=np.arange(days) + 1,
        cell_rows=rows,
        fitted=losses[0],
        online=losses[1] if online else losses[1][:0],
        learner="",
        refused="",
        unchanged=rows / 2,
        by_day=np.cumsum(draw.integers(0, 9, (days + 11, 6)), axis=0),
        by_arrival=np.cumsum(draw.integers(0, 9, (days + 11, 6)), axis=0),
        feature_starts=np.array([0, 3]),
        notes=(),
    )


class PlainDay:
    """A morning, worked out from rows alone; it has what `Day` has but shares no code with it."""

    def __init__(self, plain: PlainReplay, number: int) -> None:
        self.plain, self.number, self.seed = plain, number, 0
        self.date = date(2024, 1, 1) + timedelta(days=plain.start + number)
        self.age = number - plain.model_made

    def seen(self, days: int, ago: int, own: bool) -> list[float]:
        newest = self.plain.start + self.number - ago
        if newest - days < self.plain.start:
            return []
        midnight = [START + timedelta(days=d) for d in (newest - days, newest)]
        models = [self.plain.model_made] if own else range(self.number)
        return [
            loss for when, loss, made in self.plain.outcomes if midnight[0] < when <= midnight[1] and made in models
        ]

    def error(self, days: int, ago: int = 0, own: bool = False) -> float | None:
        return float(np.mean(self.seen(days, ago, own))) if self.seen(days, ago, own) else None

    def arrived(self, days: int, ago: int = 0, own: bool = False) -> int:
        return len(self.seen(days, ago, own))


class PlainReplay:
    """Fit again on every retraining, predict a day at a time, keep every row's loss: one policy, no sharing."""

    def __init__(self, task: CadenceTask, loss: str = "error") -> None:
        frame = pl.read_parquet(task.history)
        self.task, self.loss, self.start = task, loss, task.start_days or task.train_days
        first = frame.filter(pl.col("time") < self.midnight(self.start))
        values = frame.select(task.features).to_numpy()
        base = first.select(task.features).to_numpy()
        self.X = ((values - base.mean(axis=0)) / base.std(axis=0)).astype(np.float32)
        self.y = (frame["label"] == "yes").to_numpy().astype(int)
        self.time, self.known = np.array(frame["time"].to_list()), np.array(frame["label_time"].to_list())
        self.days = (frame["time"][-1] - START).days + 1 - self.start
        self.outcomes: list[tuple[datetime, float, int]] = []

    def midnight(self, day: int) -> datetime:
        return START + timedelta(days=day)

    def fit(self, number: int) -> LogisticRegression:
        now, then = self.midnight(self.start + number), self.midnight(self.start + number - self.task.train_days)
        rows = np.flatnonzero((self.known > then) & (self.known <= now) & (self.time < now))
        self.model_made = number
        return LogisticRegression(**self.task.params).fit(self.X[rows], self.y[rows])

    def run(self, act) -> np.ndarray:
        """Sum of the losses on each day."""
        model, losses = self.fit(0), []
        for number in range(self.days):
            if number and act(PlainDay(self, number)) == "retrain":
                model = self.fit(number)
            begin, end = self.midnight(self.start + number), self.midnight(self.start + number + 1)
            rows = np.flatnonzero((self.time >= begin) & (self.time < end))
            lost = self.lose(model, rows)
            self.outcomes += [(when, loss, self.model_made) for when, loss in zip(self.known[rows], lost)]
            losses.append(lost.sum())
        return np.array(losses)

    def lose(self, model: LogisticRegression, rows: np.ndarray) -> np.ndarray:
        if not rows.size:
            return np.zeros(0)
        if self.loss == "error":
            return (model.predict(self.X[rows]) != self.y[rows]).astype(float)
        chance = model.predict_proba(self.X[rows])[:, 1]
        if self.loss == "brier":
            return (chance - self.y[rows]) ** 2
        true = np.where(self.y[rows] == 1, chance, 1 - chance)
        return np.minimum(-np.log(true), np.log(1000)) / np.log(1000)


def policy(text: str):
    return catalog.find(CHOICE, text)


def bench_of(path, speeds, rows=60, **changes):
    turning(path, speeds, rows=rows, noise=0.05, seed=2)
    settings = {
        "features": ("x0", "x1"),
        "params": {"fit_intercept": False, "solver": "newton-cholesky"},
        "train_days": 7,
        "start_days": 14,
    }
    task = CadenceTask(history=path, time="time", label="label", **{**settings, "retraining_cost": 60.0, **changes})
    return CHOICE.open(task, seed=0)


def cost(bench, text: str) -> float:
    return float(bench.prepare(policy(text)).course.cost(bench.prices).sum())
