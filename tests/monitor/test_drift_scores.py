"""Each score against another implementation, or a figure worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from drift_data import mixed, sample, score
from scipy import stats
from scipy.spatial.distance import cdist
from scipy.special import kolmogorov

from weigh.choice import Unfit
from weigh.monitor.drift import Sample, chi_squared, ks
from weigh.monitor.drift.chi_squared import ChiSquared, statistic
from weigh.monitor.drift.domain_classifier import DomainClassifier, area
from weigh.monitor.drift.jensen_shannon import JensenShannon
from weigh.monitor.drift.ks import KolmogorovSmirnov, gap, steps
from weigh.monitor.drift.mean_shift import MeanShift
from weigh.monitor.drift.mmd import Mmd
from weigh.monitor.drift.psi import Psi
from weigh.monitor.drift.wasserstein import Ramp, Wasserstein


def columns(kind: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A reference and a window of one column."""
    if kind == "smooth":
        return rng.normal(size=900), rng.normal(0.2, 1.2, size=170)
    if kind == "tied":
        return rng.integers(0, 7, 900).astype(float), rng.integers(1, 9, 170).astype(float)
    if kind == "large":
        return 1e9 + rng.normal(size=900), 1e9 + rng.normal(size=170)
    return rng.normal(size=50), rng.normal(size=3) + 9


KINDS = ("smooth", "tied", "large", "apart")


def test_mean_shift_is_the_z_test_of_the_worst_column():
    reference, window = sample([1, 2, 3, 4, 5], [0, 0, 1, 1, 3]), sample([4, 6], [1, 1])
    z = (5 - 3) / (np.std([1, 2, 3, 4, 5], ddof=1) * math.sqrt(1 / 2 + 1 / 5))
    assert score(MeanShift(), reference, window) == pytest.approx(z)


def test_mean_shift_skips_missing_values():
    gappy = sample([1, math.nan, 3, 4, 5, math.nan])
    assert score(MeanShift(), gappy, sample([4, math.nan, 6])) == pytest.approx(
        score(MeanShift(), sample([1, 3, 4, 5]), sample([4, 6]))
    )
    assert score(MeanShift(), gappy, sample([math.nan, math.nan])) == 0.0


@pytest.mark.parametrize("kind", KINDS)
def test_the_gap_is_the_two_sample_statistic_of_scipy(kind):
    for seed in range(5):
        reference, window = columns(kind, np.random.default_rng(seed))
        assert gap(steps(reference), np.sort(window)) == pytest.approx(stats.ks_2samp(reference, window).statistic)


def test_ks_gives_the_p_value_of_each_column():
    rng = np.random.default_rng(0)
    reference, window = rng.normal(size=(2, 5000)), rng.normal([[0.0], [0.08]], size=(2, 400))
    p = [stats.ks_2samp(r, w, method="asymp").pvalue for r, w in zip(reference, window)]
    test = KolmogorovSmirnov()
    found = test.score(test.fit(sample(*reference)), sample(*window))
    np.testing.assert_allclose(found, -np.log10(p), atol=0.02)


def test_p_values_go_on_where_floating_point_ends():
    """The larger the drift the larger the score, and no jump where the tail's series takes over."""
    assert ks.minus_log10(5.0) == pytest.approx(-math.log10(kolmogorov(5.0 - 1e-9)), rel=1e-6)
    far = [ks.minus_log10(scaled) for scaled in (0.1, 1.0, 4.99, 5.01, 20.0, 200.0)]
    assert far == sorted(far) and far[-1] > 30_000
    for free in (1, 4, 30):
        assert chi_squared.minus_log10(1200.0, free) == pytest.approx(-stats.chi2.logsf(1200.0, free) / math.log(10))
        assert chi_squared.minus_log10(1e5, free) > chi_squared.minus_log10(1300.0, free) > 250
        near, next_to = (chi_squared.minus_log10(value, free) for value in (1275.0, 1300.0))
        expected = (12.5 - (free / 2 - 1) * math.log(1300 / 1275)) / math.log(10)
        assert next_to - near == pytest.approx(expected, rel=0.001)


def test_a_level_that_is_rare_is_seen_between_columns():
    rng = np.random.default_rng(12)
    reference = sample(rng.normal(size=3000), codes=[rng.integers(1, 21, 3000)], levels=(21,))
    codes = rng.integers(1, 21, 500)
    quiet = sample(rng.normal(size=500), codes=[codes], levels=(21,))
    rare = sample(quiet.numbers[0], codes=[np.where(rng.random(500) < 0.4, 19, codes)], levels=(21,))
    for test in (Mmd(), DomainClassifier()):
        assert score(test, reference, rare) > score(test, reference, quiet) + 0.001


@pytest.mark.parametrize("kind", KINDS)
def test_wasserstein_is_that_of_scipy(kind):
    for seed in range(5):
        reference, window = columns(kind, np.random.default_rng(seed))
        expected = stats.wasserstein_distance(reference, window) / np.std(reference, ddof=1)
        assert Ramp.of(reference).distance(np.sort(window)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("test", [KolmogorovSmirnov(), Wasserstein()])
def test_sorted_tests_skip_missing_values(test):
    rng = np.random.default_rng(1)
    reference, window = rng.normal(size=300), rng.normal(size=40) + 1
    gappy = sample(np.append(reference, [np.nan] * 30)), sample(np.append(window, [np.nan] * 60))
    assert score(test, *gappy) == pytest.approx(score(test, sample(reference), sample(window)))
    assert score(test, sample(reference), sample([np.nan] * 5)) == 0.0


def test_chi_squared_is_that_of_scipy():
    known, counts = np.array([900.0, 50, 40, 0, 10]), np.array([70.0, 10, 4, 0, 0])
    expected = stats.chi2_contingency(np.stack([known, counts])[:, known + counts > 0], correction=False)
    assert statistic(known, counts) == (pytest.approx(expected.statistic), expected.dof)


def test_chi_squared_gives_the_p_value_of_each_column():
    rng = np.random.default_rng(2)
    reference = sample(codes=rng.integers(0, 3, (2, 2000)), levels=(3, 3))
    window = sample(codes=[rng.integers(0, 3, 100), rng.choice(3, 100, p=[0.5, 0.25, 0.25])], levels=(3, 3))
    tables = [
        np.stack([np.bincount(r, minlength=3), np.bincount(w, minlength=3)])
        for r, w in zip(reference.codes, window.codes)
    ]
    p = [stats.chi2_contingency(one, correction=False).pvalue for one in tables]
    np.testing.assert_allclose(ChiSquared().score(ChiSquared().fit(reference), window), -np.log10(p))


def test_psi_of_a_textbook_table():
    """Incomes in three classes, 40, 30 and 30 % in one year and 35, 25 and 40 % in the next."""
    reference = sample(codes=[np.repeat([1, 2, 3], [40, 30, 30])], levels=(4,))
    window = sample(codes=[np.repeat([1, 2, 3], [35, 25, 40])], levels=(4,))
    assert score(Psi(), reference, window) == pytest.approx(0.006677 + 0.009116 + 0.028768, abs=1e-6)


def test_psi_of_deciles_by_hand():
    """A window that lies in the upper half: five bins of 20 % against ten of 10 %, empty ones counting as 0.0001."""
    reference, window = np.arange(1000.0), np.arange(500.0, 1000.0)
    by_hand = 5 * 0.1 * math.log(2) + 5 * (0.1 - 1e-4) * math.log(0.1 / 1e-4)
    assert score(Psi(), sample(reference), sample(window)) == pytest.approx(by_hand, rel=0.02)


def test_psi_without_drift_has_its_known_mean():
    """(bins - 1)(1/n + 1/m), after Yurdakul: the reason why one threshold cannot suit every window."""
    rng = np.random.default_rng(3)
    reference = rng.normal(size=4000)
    known = [score(Psi(), sample(rng.normal(size=4000)), sample(rng.normal(size=200))) for _ in range(400)]
    expected = 9 * (1 / 200 + 1 / 4000)
    assert np.mean(known) == pytest.approx(expected, abs=3 * np.std(known) / 20 + 0.03 * expected)
    assert score(Psi(), sample(reference), sample(reference)) == pytest.approx(0.0, abs=1e-12)


def test_jensen_shannon_is_that_of_two_histograms():
    rng = np.random.default_rng(4)
    reference, window = rng.normal(size=5000), rng.normal(0.5, 1, size=700)
    edges = np.quantile(reference, np.arange(1, 10) / 10, method="inverted_cdf")
    p, q = (np.bincount(np.searchsorted(edges, x), minlength=10) / len(x) for x in (reference, window))
    middle = (p + q) / 2
    expected = math.sqrt((stats.entropy(p, middle, base=2) + stats.entropy(q, middle, base=2)) / 2)
    assert score(JensenShannon(), sample(reference), sample(window)) == pytest.approx(expected)
    assert score(JensenShannon(), sample([1.0, 2, 3, 4]), sample([math.nan] * 4)) == pytest.approx(1.0)


@pytest.mark.parametrize("test", [Psi(), JensenShannon()])
def test_bins_see_missing_values(test):
    rng = np.random.default_rng(5)
    reference = mixed(rng, 4000)
    quiet, gappy = mixed(rng, 1000), mixed(rng, 1000, gaps=0.1)
    assert score(test, reference, gappy) > 2 * score(test, reference, quiet)


def naive_mmd(x: np.ndarray, y: np.ndarray, kernel) -> float:
    """The unbiased estimate, pair by pair."""
    within = [np.mean([kernel(a, b) for i, a in enumerate(z) for j, b in enumerate(z) if i != j]) for z in (x, y)]
    return float(sum(within) - 2 * np.mean([kernel(a, b) for a in x for b in y]))


def test_mmd_is_the_double_loop_over_its_features():
    rng = np.random.default_rng(6)
    reference, window, test = mixed(rng, 60), mixed(rng, 40, shift=1.0, gaps=0.1), Mmd(frequencies=8)
    state = test.fit(reference)

    def features(sample: Sample) -> np.ndarray:
        angles = state.waves.vectors(sample).astype(float) @ state.waves.frequencies.astype(float)
        return np.concatenate([np.cos(angles), np.sin(angles)], axis=1) / math.sqrt(8)

    expected = naive_mmd(features(reference), features(window), np.dot)
    assert test.score(state, window) == pytest.approx(expected, abs=1e-5)


def test_mmd_approaches_the_gaussian_kernel():
    rng = np.random.default_rng(7)
    reference, window, test = mixed(rng, 80), mixed(rng, 60, shift=1.5), Mmd(frequencies=4096)
    state = test.fit(reference)
    x, y = state.waves.vectors(reference), state.waves.vectors(window)
    assert state.sigma == pytest.approx(np.median(cdist(x, x)[np.triu_indices(80, 1)]), rel=1e-5)
    expected = naive_mmd(x, y, lambda a, b: math.exp(-((a - b) ** 2).sum() / (2 * state.sigma**2)))
    assert test.score(state, window) == pytest.approx(expected, abs=0.02)
    assert expected > 0.1


def test_the_area_is_that_of_scikit_learn():
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(8)
    known, scores = rng.integers(0, 20, 300), rng.integers(5, 25, 100)
    labels = np.repeat([0, 1], [300, 100])
    assert area(np.sort(known), scores) == pytest.approx(roc_auc_score(labels, np.concatenate([known, scores])))


@pytest.mark.parametrize("shift", [0.0, 0.3, 1.0])
def test_the_domain_classifier_is_as_good_as_logistic_regression(shift):
    """scikit-learn on the same features, cross-validated: the same area within what 600 rows allow."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_score

    rng = np.random.default_rng(9)
    reference, window, test = mixed(rng, 3000), mixed(rng, 600, shift=shift), DomainClassifier()
    state = test.fit(reference)
    features = [state.features.of(one) for one in (reference, window)]
    labels = np.repeat([0, 1], [3000, 600])
    model = LogisticRegression(C=0.1, max_iter=2000, class_weight="balanced")
    expected = cross_val_score(model, np.concatenate(features), labels, cv=4, scoring="roc_auc").mean()
    assert test.score(state, window) == pytest.approx(expected, abs=0.025)


def test_the_domain_classifier_never_writes_its_features_down():
    """Sums and weighted sums from halves equal those of the features themselves."""
    rng = np.random.default_rng(10)
    state = DomainClassifier().fit(mixed(rng, 2000))
    window = mixed(rng, 300, gaps=0.1)
    rows, chosen = state.features.halves(window)
    features = state.features.of(window).astype(float)
    weights = rng.normal(size=features.shape[1]).astype(np.float32)
    np.testing.assert_allclose(state.features.sums(rows, chosen), features.sum(axis=0), rtol=1e-4, atol=1e-2)
    np.testing.assert_allclose(state.features.apply(rows, chosen, weights), features @ weights, rtol=1e-3, atol=1e-3)


NUMBERS, CATEGORIES = sample([1.0, 2, 3, 4]), sample(codes=[[1, 2, 1, 2]], levels=(3,))


@pytest.mark.parametrize(
    "test, reference",
    [
        (MeanShift(), CATEGORIES),
        (KolmogorovSmirnov(), CATEGORIES),
        (Wasserstein(), CATEGORIES),
        (ChiSquared(), NUMBERS),
    ],
)
def test_a_test_without_columns_of_its_kind_is_unfit(test, reference):
    with pytest.raises(Unfit, match=f"^{test.name} compares .* suits them"):
        test.fit(reference)


@pytest.mark.parametrize("test", [Psi(), JensenShannon(), Mmd(), DomainClassifier()])
@pytest.mark.parametrize("only", ["numbers", "codes"])
def test_other_tests_read_either_kind_alone(test, only):
    rng = np.random.default_rng(11)

    def part(sample: Sample) -> Sample:
        if only == "numbers":
            return Sample(sample.numbers, sample.codes[:0], ())
        return Sample(sample.numbers[:0], sample.codes, sample.levels)

    reference, quiet = part(mixed(rng, 3000)), part(mixed(rng, 500))
    moved = Sample(quiet.numbers + 1.0, np.minimum(quiet.codes + 1, 3), quiet.levels)
    assert score(test, reference, moved) > score(test, reference, quiet)
