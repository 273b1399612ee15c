"""What a policy may know on a morning, and the bookkeeping behind it."""

from __future__ import annotations

from datetime import date

from weigh.retrain.cadence._replay import Replay


class Day:
    """What is known on one morning, before the first prediction of the day.

    Attributes:
        number: days since the replay began; policies are asked from day 1 on.
        date: the day itself.
        age: days since the model in service was made.
        seed: of this run, for a policy that throws dice.
    """

    __slots__ = ("_past", "age", "date", "number", "seed")

    def __init__(self, past: Past, number: int, today: date, seed: int) -> None:
        self._past, self.number, self.date, self.seed = past, number, today, seed
        self.age = number - past.model

    def error(self, days: int, ago: int = 0) -> float | None:
        """Mean loss of what was in service, over the labels that arrived in `days` days.

        Args:
            days: how many mornings' arrivals to read.
            ago: how many mornings before this one the last of them lies.

        Returns:
            a number between 0 and 1; None when fewer than `days` mornings have passed by then, or no label came.
        """
        return self._past.error(self.number - ago, days)

    def arrived(self, days: int, ago: int = 0) -> int:
        """How many labels `error` with the same arguments is the mean of."""
        return self._past.arrived(self.number - ago, days)

    def drift(self, days: int) -> list[float]:
        """Population stability index of each feature: the rows of the last `days` days against the training window.

        Bins are the tenths of the first training window, or categories; the window is that of the model in service.
        Empty bins count as a share of 0.0001. A feature that moved a little has about 0.1, one that moved much over
        0.25.
        """
        return self._past.drift(self.number, days)


class Past:
    """What has happened up to the morning that is asked about."""

    def __init__(self, replay: Replay) -> None:
        import numpy as np

        self.replay, self.model, self.online = replay, 0, False
        self.arrived_loss = np.zeros(len(replay.arrived_rows))

    def serve(self, day: int) -> None:
        """Predict the rows of `day`; their losses become known on the mornings when their labels arrive."""
        replay = self.replay
        cells = slice(replay.cell_starts[day], replay.cell_starts[day + 1])
        table = replay.online if self.online else replay.fitted
        self.arrived_loss[replay.cell_arrival[cells]] += table[self.model, cells]

    def error(self, morning: int, days: int) -> float | None:
        rows = self.arrived(morning, days)
        return float(self.arrived_loss[morning - days + 1 : morning + 1].sum()) / rows if rows else None

    def arrived(self, morning: int, days: int) -> int:
        return int(self.replay.arrived_rows[morning - days + 1 : morning + 1].sum()) if morning >= days else 0

    def drift(self, morning: int, days: int) -> list[float]:
        import numpy as np

        replay, now, then = self.replay, self.replay.start + morning, self.replay.start + self.model
        recent = replay.by_day[now] - replay.by_day[max(now - days, 0)]
        window = replay.by_arrival[then] - replay.by_arrival[max(then - replay.train_days, 0)]
        shares = [np.maximum(np.add.reduceat(count, replay.feature_starts)[0], 1) for count in (recent, window)]
        p, q = np.maximum(recent / shares[0], 1e-4), np.maximum(window / shares[1], 1e-4)
        indices: list[float] = np.add.reduceat((p - q) * np.log(p / q), replay.feature_starts).tolist()
        return indices
