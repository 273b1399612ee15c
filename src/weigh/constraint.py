"""Constraints: what the chosen option must meet, as it is typed and as the scale reads it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, Self

from weigh.choice import Frozen, Measure, UsageError, unknown
from weigh.scale.gauge import Limit

_FORM = re.compile(
    r"^\s*(?P<measure>[a-z][a-z0-9_]*)\s*(?P<op><=|>=)\s*"
    r"(?:(?P<minus>baseline)\s*(?P<sign>[+-])\s*(?P<shift>[\d.eE-]+)"
    r"|(?:(?P<factor>[\d.eE-]+)\s*[*x]\s*)?(?P<times>baseline)"
    r"|(?P<bound>[+-]?[\d.]+(?:[eE][+-]?\d+)?))\s*(?P<unit>[A-Za-zµ%]*)\s*$"
)
_UNITS = {
    "us": ("time", 1e-6), "µs": ("time", 1e-6), "ms": ("time", 1e-3), "s": ("time", 1.0), "min": ("time", 60.0),
    "h": ("time", 3600.0), "B": ("bytes", 1.0), "kB": ("bytes", 1e3), "KB": ("bytes", 1e3), "MB": ("bytes", 1e6),
    "GB": ("bytes", 1e9),
}  # fmt: skip


class Constraint(Frozen):
    """A bound that the chosen option must meet, alone or against the baseline; in the unit of its measure.

    >>> Constraint.parse("accuracy >= baseline - 0.01")
    Constraint(measure='accuracy', op='>=', bound=-0.01, relative='difference')
    >>> str(Constraint.parse("p95 <= 0.8 * baseline"))
    'p95 <= 0.8 * baseline'
    """

    measure: str
    op: Literal["<=", ">="]
    bound: float
    relative: Literal["", "difference", "ratio"] = ""

    @classmethod
    def parse(cls, text: str, measures: Sequence[Measure] = ()) -> Self:
        """Read ``measure <= 2``, ``measure >= baseline - 0.01`` or ``measure <= 0.8 * baseline``.

        With `measures` a unit may follow the number (``p95 <= 800 us``, ``accuracy >= 90 %``), and what is read is
        checked against the measure that it names.

        Raises:
            UsageError: it cannot be read, or can never hold, or always does; the text says what to type instead.
        """
        found = _FORM.match(text)
        if not found:
            meant = re.sub(r"([<>])(?!=)", r"\1=", text)
            if meant != text and _FORM.match(meant):
                raise UsageError(f"the constraint '{text}' says less or more, never equal; type '{meant}'")
            raise UsageError(
                f"the constraint '{text}' cannot be read; type 'accuracy >= 0.9', 'accuracy >= baseline - 0.01' "
                f"or 'p95 <= 0.8 * baseline'"
            )
        part = found.groupdict()
        try:
            if part["minus"]:
                bound, relative = float(part["sign"] + part["shift"]), "difference"
            elif part["times"]:
                bound, relative = float(part["factor"] or 1), "ratio"
            else:
                bound, relative = float(part["bound"]), ""
        except ValueError:
            raise UsageError(f"the constraint '{text}' holds a number that cannot be read") from None
        if part["unit"]:
            bound *= _factor(text, part["unit"], _named(part["measure"], measures, text), relative)
        made = cls(measure=part["measure"], op=part["op"], bound=bound, relative=relative)
        if measures:
            made.check(measures)
        return made

    def __str__(self) -> str:
        if self.relative == "difference":
            return f"{self.measure} {self.op} baseline {'-' if self.bound < 0 else '+'} {abs(self.bound):g}"
        if self.relative == "ratio":
            return f"{self.measure} {self.op} {self.bound:g} * baseline"
        return f"{self.measure} {self.op} {self.bound:g}"

    def limit(self) -> Limit:
        """The same, as the scale reads it."""
        return Limit(self.measure, self.op, self.bound, self.relative)

    def check(self, measures: Sequence[Measure]) -> None:
        """Raises `UsageError` when the measure does not exist, the form does not suit it, or it says nothing."""
        measure = _named(self.measure, measures, str(self))
        if self.relative == "ratio" and measure.kind == "mean":
            raise UsageError(
                f"constraint '{self}': {self.measure} is a mean; type '{self.measure} {self.op} baseline - 0.01'"
            )
        if self.relative == "difference" and measure.compared_by_ratio:
            raise UsageError(
                f"constraint '{self}': times are compared by ratio; type '{self.measure} {self.op} 0.9 * baseline'"
            )
        low, high = _range(measure, self.relative)
        self._check_possible(measure, low, high)
        if (self.bound <= low if self.op == ">=" else self.bound >= high) and measure.kind == "mean":
            raise UsageError(
                f"constraint '{self}' always holds: {self._what()} lies between {low:g} and {high:g}; leave it out, or "
                f"type one that can fail"
            )

    def _check_possible(self, measure: Measure, low: float, high: float) -> None:
        by = self.bound - high if self.op == ">=" else low - self.bound
        if by > 0:
            unit = f" {measure.unit}" if measure.unit and not self.relative else ""
            where = f"between {low:g} and {high:g}" if high < float("inf") else f"above {low:g}"
            strictest = self.model_copy(update={"bound": high if self.op == ">=" else low})
            raise UsageError(
                f"constraint '{self}' is impossible: {self._what()} lies {where}{unit}, so it is out of reach by "
                f"{by:g}; the strictest that can hold is '{strictest}'"
            )

    def _what(self) -> str:
        words = {"": "", "difference": " less the baseline's", "ratio": " over the baseline's"}
        return self.measure + words[self.relative]


def _named(name: str, measures: Sequence[Measure], text: str) -> Measure:
    by_name = {measure.name: measure for measure in measures}
    if name not in by_name:
        raise UsageError(f"constraint '{text}': {unknown('measure', name, list(by_name))}")
    return by_name[name]


def _range(measure: Measure, relative: str) -> tuple[float, float]:
    """Least and greatest value that what is bounded can take."""
    if measure.kind == "mean":
        span = measure.high - measure.low
        return (-span, span) if relative else (measure.low, measure.high)
    return (0.0, float("inf")) if measure.kind != "exact" else (float("-inf"), float("inf"))


def _factor(text: str, unit: str, measure: Measure, relative: str) -> float:
    """What a number in `unit` is multiplied by to be in the measure's unit."""
    if relative != "ratio":
        if unit == measure.unit:
            return 1.0
        if unit == "%" and measure.kind == "mean" and (measure.low, measure.high) == (0.0, 1.0):
            return 0.01
        mine, its = _UNITS.get(unit), _UNITS.get(measure.unit)
        if mine and its and mine[0] == its[0]:
            return mine[1] / its[1]
    its_unit = f"{measure.name} is measured in {measure.unit or 'numbers'}"
    what = "a ratio has no unit" if relative == "ratio" else its_unit
    raise UsageError(f"the constraint '{text}' ends in '{unit}', but {what}; leave the unit out, or convert the number")
