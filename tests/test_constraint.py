"""Constraints as they are typed: units are converted, and what says nothing is refused."""

from __future__ import annotations

import pytest

from weigh.choice import Measure, UsageError
from weigh.constraint import Constraint

MEASURES = (
    Measure(name="accuracy", unit="share", better="higher", kind="mean", meaning="right answers"),
    Measure(name="p95", unit="ms", better="lower", kind="quantile", q=0.95, meaning="time"),
    Measure(name="size", unit="MB", better="lower", kind="exact", meaning="bytes / 1,000,000"),
)


@pytest.mark.parametrize(
    ("typed", "bound"),
    [
        ("p95 <= 800 us", 0.8),
        ("p95 <= 0.002s", 2.0),
        ("p95 <= 3 ms", 3.0),
        ("size <= 50 kB", 0.05),
        ("size <= 2GB", 2000.0),
        ("accuracy >= 90 %", 0.9),
        ("accuracy >= baseline - 2%", -0.02),
        ("accuracy >= 0.9", 0.9),
    ],
)
def test_a_unit_is_converted_to_that_of_the_measure(typed: str, bound: float):
    assert Constraint.parse(typed, MEASURES).bound == pytest.approx(bound, rel=1e-12)


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("p95 <= 3 MB", "p95 is measured in ms"),
        ("p95<3", "type 'p95<=3'"),
        ("accuracy >= 90 ms", "accuracy is measured in share"),
        ("p95 <= 0.9 * baseline ms", "a ratio has no unit"),
        ("p95 <= baseline - 1", "times are compared by ratio; type 'p95 <= 0.9 \\* baseline'"),
        ("accuracy >= 0.9 * baseline", "accuracy is a mean; type 'accuracy >= baseline - 0.01'"),
        ("accuracy >= 90", "impossible: accuracy lies between 0 and 1 share, so it is out of reach by 89"),
        ("accuracy >= baseline + 1.5", "impossible: accuracy less the baseline's lies between -1 and 1"),
        ("p95 <= -1", "impossible: p95 lies above 0 ms, so it is out of reach by 1"),
        ("accuracy >= -5", "always holds"),
        ("accuracy <= 1", "always holds"),
        ("accuracy >= baseline - 1", "always holds"),
        ("acuracy >= 0.9", "did you mean 'accuracy'"),
        ("accuracy > 0.9", "never equal; type 'accuracy >= 0.9'"),
        ("accuracy >= 0.9.1", "a number that cannot be read"),
    ],
)
def test_what_cannot_be_meant_is_refused(typed: str, says: str):
    with pytest.raises(UsageError, match=says):
        Constraint.parse(typed, MEASURES)


@pytest.mark.parametrize("typed", ["p95 <= 0.8 * baseline", "accuracy >= baseline - 0.01", "size <= 3"])
def test_a_constraint_reads_as_it_was_typed(typed: str):
    assert str(Constraint.parse(typed, MEASURES)) == typed
    assert Constraint.parse(str(Constraint.parse(typed)), MEASURES) == Constraint.parse(typed)
