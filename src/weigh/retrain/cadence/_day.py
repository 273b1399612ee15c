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

    def error(self, days: int, ago: int = 0, own: bool = False) -> float | None:
        """Mean loss of what was in service, over the labels that arrived in `days` days.

        Args:
            days: how many mornings' arrivals to read.
            ago: how many mornings before this one the last of them lies.
            own: only of rows that the model now in service predicted; what a model before it did is not its fault.

        Returns:
            a number between 0 and 1; None when fewer than `days` mornings have passed by then, or no label came.
        """
        return self._past.error(self.number - ago, days, own)

    def arrived(self, days: int, ago: int = 0, own: bool = False) -> int:
        """How many labels `error` with the same arguments is the mean of."""
        return self._past.arrived(self.number - ago, days, own)

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
        self.own_loss = np.zeros(len(replay.arrived_rows))
        self.own_rows = np.zeros(len(replay.arrived_rows), dtype=np.int64)

    def change(self, day: int, online: bool) -> None:
        """Put the model of that morning into service."""
        self.model, self.online = day, online
        self.own_loss[:], self.own_rows[:] = 0.0, 0

    def serve(self, day: int) -> None:
        """Predict the rows of `day`; their losses become known on the mornings when their labels arrive."""
        replay = self.replay
        cells = slice(replay.cell_starts[day], replay.cell_starts[day + 1])
        arrival, table = replay.cell_arrival[cells], replay.online if self.online else replay.fitted
        for known in (self.arrived_loss, self.own_loss):
            known[arrival] += table[self.model, cells]
        self.own_rows[arrival] += replay.cell_rows[cells]

    def error(self, morning: int, days: int, own: bool = False) -> float | None:
        rows, loss = self.arrived(morning, days, own), self.own_loss if own else self.arrived_loss
        return float(loss[morning - days + 1 : morning + 1].sum()) / rows if rows else None

    def arrived(self, morning: int, days: int, own: bool = False) -> int:
        rows = self.own_rows if own else self.replay.arrived_rows
        return int(rows[morning - days + 1 : morning + 1].sum()) if morning >= days else 0

    def drift(self, morning: int, days: int) -> list[float]:
        import numpy as np

        replay, now, then = self.replay, self.replay.start + morning, self.replay.start + self.model
        recent = replay.by_day[now] - replay.by_day[max(now - days, 0)]
        window = replay.by_arrival[then] - replay.by_arrival[max(then - replay.train_days, 0)]
        shares = [np.maximum(np.add.reduceat(count, replay.feature_starts)[0], 1) for count in (recent, window)]
        p, q = np.maximum(recent / shares[0], 1e-4), np.maximum(window / shares[1], 1e-4)
        indices: list[float] = np.add.reduceat((p - q) * np.log(p / q), replay.feature_starts).tolist()
        return indices
