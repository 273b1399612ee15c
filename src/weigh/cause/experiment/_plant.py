"""How an effect gets into the metric of the treated units: by so much each, by a share of each, or by who converts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from weigh.choice import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from weigh.cause.experiment._arms import Floats

Kind: TypeAlias = Literal["add", "scale", "convert"]

OFTEN_ZERO = 0.1
"""Share of zeros from which a metric that is never negative is scaled: no treatment makes every unit buy a little."""


@dataclass(frozen=True, slots=True)
class Plant:
    """Plants effects; values and effects in standard deviations of the metric from its mean.

    Attributes:
        kind: `add`: every unit gets the effect. `scale`: every unit is multiplied. `convert`: some units at `base`
            get the value of a random unit above it, or for a negative effect the other way round.
        origin: where the metric is 0.
        base: what units convert from: the lower of two values, else 0.
        above: values of the units above `base`.
        share: of the units that are above `base`.
        values: the two values of the metric, if it has only two.
    """

    kind: Kind
    origin: float
    base: float
    above: NDArray[np.float32]
    share: float
    values: tuple[float, float] | None

    @property
    def lift(self) -> float:
        """What a unit gains on average that converts."""
        return float(self.above.mean()) - self.base

    @property
    def reach(self) -> tuple[float, float]:
        """The least and the greatest effect that can be planted."""
        if self.kind == "convert":
            return -self.share * self.lift, (1 - self.share) * self.lift
        return (-abs(self.origin) if self.kind == "scale" else -float("inf")), float("inf")

    def line(self, effect: float) -> tuple[float, float]:
        """(factor, shift) of a treated unit's value, for the kinds `add` and `scale`."""
        if self.kind == "add":
            return 1.0, effect
        factor = 1 - effect / self.origin
        return factor, self.origin * (1 - factor)

    def chance(self, effect: float) -> float:
        """Of a unit that can convert, to do so."""
        return effect / self.reach[1] if effect > 0 else effect / self.reach[0]

    def converted(self, y: NDArray[np.float32], effect: float, rng: np.random.Generator) -> NDArray[np.float32]:
        """Some treated units converted: at a larger effect, from the same `rng`, the same ones and more."""
        import numpy as np

        luck, chance = rng.random(y.shape, dtype=np.float32), self.chance(effect)
        made = y.copy()
        if effect > 0:
            moved = (y <= self.base) & (luck < chance)
            made[moved] = self.above[
                np.minimum(luck[moved] / chance * len(self.above), len(self.above) - 1).astype(int)
            ]
        else:
            made[(y > self.base) & (luck < chance)] = self.base
        return made

    def gain(self, effect: float, mean: Floats, share: Floats) -> Floats:
        """What units of this mean, and with this share above `base`, gain on average."""
        import numpy as np

        if self.kind == "convert":
            chance = self.chance(effect)
            return chance * (1 - share) * self.lift if effect > 0 else -chance * (mean - self.base)
        factor, shift = self.line(effect)
        return np.asarray((factor - 1) * mean + shift)


def plant(
    asked: Kind | Literal["auto"], relative: bool, y: Floats, mean: float, deviation: float, metric: str
) -> Plant:
    """How to plant in a metric, from its standardised values, mean and deviation.

    Raises:
        UsageError: the metric cannot have such an effect; the text says why.
    """
    import numpy as np

    origin, values = -mean / deviation, two_values(y)
    base = values[0] if values else origin
    above = y > base + 1e-9
    negative = bool((y < origin - 1e-9).any())
    if asked != "auto":
        _refuse(asked, metric, values is not None, negative, bool(above.all()))
    if asked == "auto" and values:
        asked = "convert"
    elif asked == "auto":
        zeros = 0.0 if negative else float(np.mean(~above))
        asked = "scale" if not negative and (relative or zeros >= OFTEN_ZERO) else "add"
    small = y.astype(np.float32)
    return Plant(asked, origin, float(np.float32(base)), small[above], float(above.mean()), values)


def two_values(y: Floats) -> tuple[float, float] | None:
    """The two values of a metric that has only two."""
    low, high = float(y.min()), float(y.max())
    return (low, high) if low < high and bool(((y == low) | (y == high)).all()) else None


def _refuse(asked: Kind, metric: str, two: bool, negative: bool, no_zeros: bool) -> None:
    if asked != "convert" and two:
        raise UsageError(
            f"you asked for plant={asked}, but '{metric}' has only two values, and no effect gives a unit one between: "
            "leave plant out, or type plant=convert"
        )
    if asked == "convert" and not two and (negative or no_zeros):
        why = "is negative for some units" if negative else "is never 0"
        raise UsageError(
            f"you asked for plant=convert, but '{metric}' {why}, so that no unit can convert from 0: type plant=add or "
            "plant=scale"
        )
    if asked == "scale" and negative:
        raise UsageError(
            f"you asked for plant=scale, but '{metric}' is negative for some units, which scaling would move the other "
            "way: type plant=add"
        )
