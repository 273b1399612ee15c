"""The evidence on a guardrail whose values resemble their neighbours: window against window."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from weigh.rollout.guard import Guard, Span
from weigh.rollout.histogram import Histogram
from weigh.rollout.plan import Guardrail, RolloutPlan
from weigh.scale.windows import WindowTest

if TYPE_CHECKING:
    from weigh.rollout.guard import Bools, Floats

ORDER = (0.5, 0.75, 0.9, 0.95, 0.99)
"""The quantiles at which whole distributions are compared."""
_EXPECTED = 5.0
"""Values of the baseline beyond its quantile before that is taken to be known."""


class _Track:
    """One quantile (or the mean) of a guardrail: what the open window holds, and the windows so far."""

    def __init__(self, q: float | None, limit: float | None, test: WindowTest) -> None:
        self.q, self.limit, self.test = q, limit, test
        self.known_at = 0
        self.sums = np.zeros((2, 2))

    def learn(self, baseline: Histogram) -> None:
        """Take the baseline's quantile for the windows to come, where it is known better than before."""
        assert self.q is not None
        if baseline.n >= max(_EXPECTED / (1.0 - self.q), 1.1 * self.known_at):
            self.limit, self.known_at = baseline.quantile(self.q), baseline.n

    def state(self) -> list[Any]:
        return [self.test.state(), self.sums.tolist(), self.limit, self.known_at]

    def restore(self, state: list[Any]) -> None:
        test, sums, self.limit, self.known_at = state
        self.test.restore(test)
        self.sums = np.asarray(sums, dtype=np.float64).reshape(2, 2)


class WindowGuard(Guard):
    """Whole windows of time against each other: of means their difference; of a quantile the share of slower requests.

    Against a limit that is the share of the canary's requests beyond it, which must be at most 1 - q. Against r times
    the baseline it is the share of the canary's requests beyond r t, less that of the baseline's beyond t, where t is
    the baseline's quantile as known before the window. If the canary is at most r times as slow at every quantile
    (stochastically), that difference is at most 0 whatever t is, and however the load drifts; if q-quantiles alone
    keep to it, it is so as t nears the baseline's quantile. Without a quantile, times are compared at five of them at
    once: harm at any is harm.

    Source: Lindon, Sanden and Shirikian, Rapid regression detection in software deployments through sequential testing,
    KDD 2022 (arXiv 2205.14762), which compares the arms' distributions; here in windows, since requests are correlated.
    Howard and Ramdas, Bernoulli 28, 2022 (a quantile's bound is a bound on the share beyond it).
    """

    def __init__(self, guardrail: Guardrail, plan: RolloutPlan, alpha: float) -> None:
        super().__init__(guardrail, plan, alpha)
        self._levels: tuple[float | None, ...] = ORDER if guardrail.order else (guardrail.quantile,)
        limit = self.bound.bound if self._levels[0] is not None and not self.both else None
        self._tracks = [_Track(q, limit, self._test(q)) for q in self._levels]
        self._key: list[int] = []
        self.seen = (Histogram(), Histogram())

    def _test(self, q: float | None) -> WindowTest:
        """Windows of one quantile, or of the mean: ends of their values, tolerated harm, the harm each share allows."""
        shares = self.plan.stages
        if q is None:
            span, harm = self.metric.high - self.metric.low, self.margin
            low, high, safe = -span if self.both else 0.0, span, [self.margin / share for share in shares]
        elif self.both:
            low, high, harm, safe = -1.0, 1.0, 0.0, [(1.0 - q) * (1.0 / share - 1.0) for share in shares]
        else:
            low, high, harm, safe = 0.0, 1.0, 1.0 - q, [(1.0 - q) / share for share in shares]
        memory = max(self.plan.memory / self.plan.window, 1.0)
        return WindowTest(low, high, harm, [min(one, high) for one in safe], self.alpha / len(self._levels), memory)

    @property
    def harm(self) -> bool:
        return any(track.test.above for track in self._tracks)

    def against(self) -> float:
        return max(track.test.against() for track in self._tracks) - math.log(len(self._tracks))

    @property
    def windows(self) -> int:
        """Windows so far."""
        return max(track.test.n for track in self._tracks)

    @property
    def level(self) -> float | None:
        """The quantile that is worst off; None of a mean."""
        return self._worst().q

    def _worst(self) -> _Track:
        return max(self._tracks, key=lambda track: (track.test.above, track.test.against()))

    def certainty(self) -> Floats:
        least: Floats = np.min([track.test.below for track in self._tracks], axis=0)
        return least

    def take(self, stage: int, canary: Bools, time: Floats, values: Floats) -> None:
        keys = np.maximum.accumulate(np.floor(time / self.plan.window))
        if self._key:  # a clock that goes backwards, or feedback that comes late, adds to the window that is open
            keys, stage = np.maximum(keys, self._key[1]), max(stage, self._key[0])
        starts = np.flatnonzero(np.diff(keys, prepend=math.nan) != 0)
        for start, stop in zip(starts, [*starts[1:], keys.size], strict=True):
            key = [stage, int(keys[start])]
            if key != self._key:
                self._close(moved=bool(self._key) and stage != self._key[0])
                self._key = key
            self._add(canary[start:stop], values[start:stop])

    def _add(self, canary: Bools, values: Floats) -> None:
        for arm, chosen in enumerate((values[~canary], values[canary])):
            if self._levels[0] is not None:
                self.seen[arm].update(chosen)
            factor = self.bound.bound if self.both and arm else 1.0
            for track in self._tracks:
                if track.q is None:
                    track.sums[arm] += chosen.size, float(self.harms(chosen).sum())
                elif track.limit is not None:
                    track.sums[arm] += chosen.size, np.count_nonzero(chosen > factor * track.limit)

    def _close(self, moved: bool) -> None:
        """The window is over: its value; then the threshold of those to come.

        One in which an arm served nothing goes on, except where the traffic was moved: what comes then is not
        comparable with it.
        """
        for track in self._tracks:
            counts, sums = track.sums.T
            whole = bool(counts[1] and (counts[0] or not self.both))
            if whole:
                track.test.update(float(sums[1] / counts[1] - (sums[0] / counts[0] if self.both else 0.0)))
            if whole or moved or not counts.any():
                track.sums = np.zeros((2, 2))
                if track.q is not None and self.both:
                    track.learn(self.seen[0])

    def span(self) -> Span:
        test = self._worst().test
        if not test.n:
            return Span()
        half, mean = test.half(self.plan.alpha / 2.0), test.mean
        ends = [mean - half, mean + half] if math.isfinite(half) else [None, None]
        turned = [None if one is None else self._turned(one) for one in (mean, *ends)]
        low, high = (turned[1], turned[2]) if self.sign > 0 else (turned[2], turned[1])
        return Span(estimate=turned[0], low=low, high=high)

    def _turned(self, harm: float) -> float:
        if self._levels[0] is not None:
            return harm
        if self.both:
            return self.sign * harm
        return self.metric.low + harm if self.sign > 0 else self.metric.high - harm

    def state(self) -> dict[str, Any]:
        return {
            "tracks": [track.state() for track in self._tracks], "key": self._key,
            "seen": [one.state() for one in self.seen],
        }  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> None:
        for track, kept in zip(self._tracks, state["tracks"], strict=True):
            track.restore(kept)
        self._key = [int(one) for one in state["key"]]
        baseline, canary = state["seen"]
        self.seen = Histogram.of(baseline), Histogram.of(canary)
