"""Planted drifts do what the task says, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from drift_data import mixed, opened, pair, sample, table

from weigh.choice import UsageError
from weigh.monitor.drift import DriftTask, Sample
from weigh.monitor.drift._drifts import Planter
from weigh.monitor.drift._tilt import tilt

ROWS = 20_000


def planted(kind: str, window: Sample, share_of_columns: float = 1.0, seed: int = 0, **fields) -> Sample:
    task = DriftTask.model_validate({"history": "none", "share_of_columns": share_of_columns} | fields)
    return Planter.of(task, window).plant(window, kind, np.random.default_rng(seed))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def window() -> Sample:
    return mixed(np.random.default_rng(0), ROWS)


def test_mean_adds_standard_deviations(window):
    drifted = planted("mean", window, size=0.3)
    by = window.numbers.std(axis=1, ddof=1)[:, None]
    np.testing.assert_allclose(drifted.numbers[:2], (window.numbers + 0.3 * by)[:2])
    moved = drifted.numbers.mean(axis=1) - window.numbers.mean(axis=1)
    np.testing.assert_allclose(moved, 0.3 * by[:, 0], atol=0.02)
    np.testing.assert_array_equal(drifted.codes, window.codes)


def test_scale_widens_around_the_mean(window):
    drifted = planted("scale", window, size=0.5)
    np.testing.assert_allclose(drifted.numbers[:2].mean(axis=1), window.numbers[:2].mean(axis=1), atol=1e-9)
    np.testing.assert_allclose(drifted.numbers[:2].std(axis=1), 1.5 * window.numbers[:2].std(axis=1))


LATTICES = {
    "flag": lambda rng: (rng.random(ROWS) < 0.2).astype(float),
    "count": lambda rng: rng.poisson(3, ROWS).astype(float),
    "rounded": lambda rng: np.round(4 * rng.normal(size=ROWS)),
    "half zero": lambda rng: np.where(rng.random(ROWS) < 0.5, 0.0, rng.exponential(size=ROWS)),
}


@pytest.mark.parametrize("kind", ["mean", "scale"])
@pytest.mark.parametrize("name", LATTICES)
def test_tied_values_are_made_more_frequent_and_not_moved(kind, name):
    """The moments are those asked for, every value is one of the column's own, and ranks stay."""
    column = LATTICES[name](np.random.default_rng(1))
    if kind == "scale" and name == "flag":
        with pytest.raises(UsageError, match="three values"):
            planted("scale", sample(column), kinds=("scale",))
        return
    drifted = planted(kind, sample(column), size=0.2).numbers[0]
    sd = column.std()
    added, factor = (0.2, 1.0) if kind == "mean" else (0.0, 1.2)
    assert drifted.mean() == pytest.approx(column.mean() + added * sd, abs=0.03 * sd)
    if kind == "scale":
        assert drifted.std() == pytest.approx(factor * sd, rel=0.03)
    assert set(drifted) <= set(column)
    values = np.unique(column)
    means = np.array([drifted[column == value].mean() for value in values if np.sum(column == value) > 30])
    assert np.all(np.diff(means) > 0)


@pytest.mark.parametrize("kind", ["mean", "scale"])
def test_a_tilt_by_nothing_changes_nothing(kind):
    column = np.where(np.arange(ROWS) % 7 == 0, np.nan, np.random.default_rng(2).poisson(2, ROWS))
    np.testing.assert_array_equal(planted(kind, sample(column), size=0.0).numbers[0], column)
    new = np.array([0.5, 99.0, np.nan, 1.0])
    np.testing.assert_array_equal(tilt(column, 0.5, scale=False)(new, np.random.default_rng(0))[:3], new[:3])


def test_a_tilt_goes_as_far_as_the_values_do():
    drifted = planted("mean", sample(np.arange(ROWS) % 2.0), size=5.0, kinds=("mean",)).numbers[0]
    assert drifted.min() == 1.0


def test_mix_gives_a_share_of_the_rows_one_level(window):
    drifted = planted("mix", window, size=0.3)
    for before, after in zip(window.codes, drifted.codes):
        (level,) = set(after[before != after])
        assert np.mean(after == level) == pytest.approx(
            0.3 * np.mean(before > 0) + 0.7 * np.mean(before == level), abs=0.01
        )
        np.testing.assert_array_equal(before == 0, after == 0)


def test_missing_empties_a_share_of_the_rows(window):
    drifted = planted("missing", window, size=0.1)
    np.testing.assert_allclose(np.isnan(drifted.numbers).mean(axis=1), 0.1, atol=0.01)
    assert np.mean(drifted.codes[1] == 0) == pytest.approx(0.1, abs=0.01)


def test_correlation_leaves_every_column_as_it_was(window):
    drifted = planted("correlation", window, size=1.0)
    np.testing.assert_array_equal(np.sort(drifted.numbers, axis=1), np.sort(window.numbers, axis=1))
    np.testing.assert_array_equal(np.sort(drifted.codes, axis=1), np.sort(window.codes, axis=1))
    assert np.corrcoef(window.numbers[:2])[0, 1] == pytest.approx(0.8, abs=0.02)
    assert np.corrcoef(drifted.numbers[:2])[0, 1] == pytest.approx(0.0, abs=0.02)


def test_correlation_falls_with_the_share_of_rows(window):
    pair = Sample(window.numbers[:2], window.codes[:0], ())
    drifted = planted("correlation", pair, share_of_columns=0.5, size=0.25)
    assert np.corrcoef(drifted.numbers)[0, 1] == pytest.approx(0.75 * 0.8, abs=0.02)


@pytest.mark.parametrize("kind", ["mean", "scale", "mix", "missing", "correlation"])
def test_the_window_given_is_left_alone(window, kind):
    before = window.numbers.copy(), window.codes.copy()
    planted(kind, window)
    np.testing.assert_array_equal(window.numbers, before[0])
    np.testing.assert_array_equal(window.codes, before[1])


@pytest.mark.parametrize("share, touched", [(0.01, 1), (0.5, 2), (1.0, 3)])
def test_a_share_of_the_columns_drifts(window, share, touched):
    drifted = planted("mean", window, share_of_columns=share)
    assert np.sum((drifted.numbers != window.numbers).any(axis=1)) == touched


def test_columns_are_drawn_anew(window):
    moved = [
        np.flatnonzero((planted("mean", window, 0.1, seed).numbers != window.numbers).any(axis=1))[0]
        for seed in range(20)
    ]
    assert set(moved) == {0, 1, 2}


def test_a_kind_may_have_a_size_of_its_own(window):
    drifted = planted("missing", window, size=0.5, sizes={"missing": 0.02})
    np.testing.assert_allclose(np.isnan(drifted.numbers).mean(axis=1), 0.02, atol=0.005)


def test_kinds_are_those_that_the_columns_allow(tmp_path):
    assert list(opened(pair(tmp_path)).planter.columns) == ["mean", "scale", "missing", "correlation"]
    assert list(opened(pair(tmp_path), columns=("a",)).planter.columns) == ["mean", "scale", "missing"]
    words = table(tmp_path, word=["x", "y", "z"] * 8000)
    assert list(opened(words).planter.columns) == ["mix", "missing"]


@pytest.mark.parametrize(
    "kind, columns, said",
    [
        ("mix", ("a", "b"), "category with two levels .* mean, scale, missing, correlation"),
        ("correlation", ("a",), "two columns .* mean, scale, missing"),
    ],
)
def test_a_kind_that_cannot_be_planted_is_refused(tmp_path, kind, columns, said):
    with pytest.raises(UsageError, match=said):
        opened(pair(tmp_path), columns=columns, kinds=(kind,))


def test_a_share_above_one_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"size of 'missing' is the share .* 2 is more than all.*sizes="):
        opened(pair(tmp_path), size=2.0)
    assert list(opened(pair(tmp_path), size=2.0, kinds=("mean", "scale")).planter.columns) == ["mean", "scale"]


def test_a_category_that_is_only_present_or_missing_cannot_change_its_mix():
    flag = sample(codes=[[0, 1, 1, 0] * 50], levels=(2,))
    with pytest.raises(UsageError, match="'mix'"):
        planted("mix", flag, kinds=("mix",))
