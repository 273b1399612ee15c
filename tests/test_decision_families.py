"""The question families of bench-decisions: built by their own code from small data, kept, and what is true of them."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="pip install 'weigh[retrain]'")

from benchmarks.decisions import store, truth
from benchmarks.decisions.families import _nets, _statistics, cadence, compressed, drift, latency
from benchmarks.decisions.families._sources import Rows
from benchmarks.decisions.family import Family
from weigh.choice import UsageError
from weigh.scale.gauge import Gauge, Limit


def _digits() -> Rows:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return Rows((x / 16).astype(np.float32), y.astype(np.int64))


_NET = compressed.Net("digits", _digits, 900, 850, (12,), 40, "brier", 0.01, narrower=(2,))


@cache
def _tiny() -> Family:
    return compressed.made("digits", _NET)


def _random(serial: bool = False) -> Family:
    rng = np.random.default_rng(3)
    times = rng.lognormal(size=(41, 5)) * np.linspace(1.0, 2.0, 5)
    return Family(
        name="random", kind="latency", source="", options=tuple("abcde"), baseline="c",
        gauges=(
            Gauge("size", "exact", "lower"), Gauge("right", "mean", "higher"), Gauge("latency", "time", "lower"),
            Gauge("p90", "quantile", "lower", q=0.9),
        ),
        exact={"size": np.array([5.0, 4.0, 9.0, 1.0, 2.0])},
        values={"right": (rng.random((41, 5)) < 0.7).astype(float), "latency": times, "p90": times},
        objective="size", settings=(), serial=serial, block=10,
    )  # fmt: skip


def _order_statistic(values: list[float], q: float) -> float:
    """The smallest value that a share q of the values does not exceed."""
    ordered = sorted(values)
    return next(value for place, value in enumerate(ordered, 1) if place >= q * len(ordered) - 1e-9)


def test_many_families_of_all_kinds() -> None:
    names = store.makers()
    assert len(names) >= 22
    for theme, least in (("cadence", 3), ("drift", 3), ("latency", 3), ("models", 3), ("best", 2)):
        assert sum(theme in name for name in names) >= least


def test_compressed_is_measured_on_every_row() -> None:
    family = _tiny()
    assert family.options[0] == family.baseline == "float32"
    assert all(of.shape == (850, len(family.options)) for of in family.values.values())
    assert len(family.settings) >= 9
    base = family.options.index("float32")
    assert np.all(family.values["agreement"][:, base] == 1) and family.values["accuracy"][:, base].mean() > 0.8
    assert all(truth.feasible(family, limits)[base] for limits in family.settings)
    sizes = dict(zip(family.options, family.exact["size"]))
    weights, biases, columns = 64 * 12 + 12 * 10, 12 + 10, 12 + 10
    assert sizes["float32"] == pytest.approx((weights + biases) * 4 / 1000)
    assert sizes["int4"] == pytest.approx((weights / 2 + biases * 4 + 2 * 4) / 1000)
    assert sizes["pruned-0.5-int8"] == pytest.approx((weights / 8 + weights / 2 + biases * 4 + columns * 4) / 1000)


def test_built_again_it_is_the_same() -> None:
    again = compressed.made("digits", _NET)
    assert all(np.array_equal(of, _tiny().values[gauge]) for gauge, of in again.values.items())


def test_rounded_weights_are_few_and_near() -> None:
    layer = _nets.Layer(np.random.default_rng(0).normal(size=(20, 6)).astype(np.float32), np.zeros(6, np.float32))
    (four,) = _nets.rounded([layer], 4, per_channel=True)
    assert all(len(np.unique(column)) <= 15 for column in four.first.T)
    scale = np.abs(layer.first).max(axis=0) / 7
    assert np.all(np.abs(four.first - layer.first) <= scale / 2 + 1e-6)
    (low,) = _nets.factored([layer], 0.5)
    assert low.second is not None
    u, s, v = np.linalg.svd(layer.first)
    assert np.allclose(low.first @ low.second, (u[:, :3] * s[:3]) @ v[:3], atol=1e-5)


def test_saved_and_read_it_is_the_same(tmp_path: Path) -> None:
    for family in (_tiny(), _random(serial=True)):
        path = tmp_path / f"{family.name}.npz"
        store.save(family, path)
        kept = store.read(path)
        assert replace(kept, exact={}, values={}) == replace(family, exact={}, values={})
        for there, here in ((kept.values, family.values), (kept.exact, family.exact)):
            assert there.keys() == here.keys() and all(np.array_equal(there[name], here[name]) for name in here)
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "digits.json",
        "digits.npz",
        "random.json",
        "random.npz",
    ]


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "random.npz"
    store.save(_random(), path)
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    path.write_bytes(body)
    with pytest.raises(UsageError, match=r"random.npz is damaged .*--again --only random"):
        store.read(path)
    path.with_suffix(".json").unlink()
    with pytest.raises(UsageError, match="is damaged"):
        store.read(path)


def test_an_unknown_family_is_named() -> None:
    with pytest.raises(UsageError, match="rain-drift"):
        store.load("rain-drfit")


def test_truth_is_what_a_loop_finds() -> None:
    family = _random()
    found, base = truth.truth(family), 2
    for place in range(5):
        rows = range(family.units)
        right = [float(family.values["right"][row, place]) for row in rows]
        times = [float(family.values["latency"][row, place]) for row in rows]
        ratios = [float(family.values["latency"][row, place] / family.values["latency"][row, base]) for row in rows]
        assert found["right"][place] == pytest.approx(sum(right) / 41)
        assert found["latency"][place] == _order_statistic(times, 0.5)
        assert found["p90"][place] == _order_statistic(times, 0.9)
        ratio = truth.bounded(family, Limit("latency", "<=", 1.0, "ratio"))[place]
        assert ratio == _order_statistic(ratios, 0.5)
        tail = truth.bounded(family, Limit("p90", "<=", 1.0, "ratio"))[place]
        assert tail == pytest.approx(found["p90"][place] / found["p90"][base])


def test_what_equals_its_bound_meets_it_and_the_cheapest_wins() -> None:
    family = _random()
    right = truth.truth(family)["right"]
    limit = Limit("right", ">=", float(right[3] - right[2]), "difference")
    met = truth.feasible(family, (limit,))
    assert met[3] and np.array_equal(met, right >= right[3] - 1e-9)
    assert truth.oracle(family, (limit,)) == 3
    assert truth.cost_ratio(family, (limit,), 2) == 9.0
    upward = replace(family, objective="right")
    best = int(np.argmax(right))
    assert truth.cost_ratio(upward, (), 0) == pytest.approx(right[best] / right[0])
    with pytest.raises(ValueError, match="no option meets"):
        truth.oracle(family, (Limit("size", "<=", 0.5),))


def test_drift_statistics_are_scipys() -> None:
    from scipy.stats import ks_2samp, wasserstein_distance

    rng = np.random.default_rng(0)
    rows, windows = rng.integers(0, 30, (400, 2)).astype(float), rng.integers(0, 25, (5, 80, 2)).astype(float)
    reference = _statistics.reference_of(rows)
    ks = _statistics.STATISTICS["ks"].value(windows, reference)
    wasserstein = _statistics.STATISTICS["wasserstein"].value(windows, reference)
    for place, window in enumerate(windows):
        pairs = list(zip(window.T, rows.T))
        assert ks[place] == pytest.approx(max(ks_2samp(new, old).statistic for new, old in pairs))
        exact = max(wasserstein_distance(new, old) / old.std() for new, old in pairs)
        assert wasserstein[place] == pytest.approx(exact, rel=0.02)


def test_drift_trials_tell_quiet_from_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drift, "_QUIET", 400)
    family = drift.made("tiny-drift", "digits", _digits, 0.4, trials=400)
    found = truth.truth(family)
    alarms = dict(zip(family.options, found["false_alarms"]))
    power = dict(zip(family.options, found["power"]))
    assert alarms["psi-400-0.01"] < 0.05 and power["psi-400-0.01"] > 0.5 > alarms["psi-50-0.03"]
    assert power["mean-shift-400-0.03"] > power["mean-shift-50-0.03"]
    assert all(truth.feasible(family, limits).any() for limits in family.settings)


def test_policies_are_replayed_as_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    period = np.repeat(np.arange(12), 60)
    x = rng.normal(size=(720, 3)).astype(np.float32)
    moved = np.where(period < 6, x[:, 0], -x[:, 0])
    rows = Rows(x, (moved + 0.3 * rng.normal(size=720) > 0).astype(np.int64))
    past = cadence.History(rows, period, 2, {"last-2": 2}, labelled=40, most=60)
    family = cadence.made("tiny-cadence", "simulated", lambda: past, (0.01, 0.05, 0.1))
    learnt = dict(zip(family.options, family.exact["learnt"] * 1000))
    assert learnt["every-1-last-2"] == 10 * 60 and learnt["every-5-last-2"] == 2 * 60 and learnt["never-last-2"] == 60
    assert 60 < learnt["drift-0.02-last-2"] < 600
    loss = dict(zip(family.options, truth.truth(family)["loss"]))
    assert loss["every-1-last-2"] < loss["drift-0.02-last-2"] < loss["never-last-2"]
    assert np.array_equal(family.values["error"] > 0, family.values["loss"] > 0.25)


def test_every_option_is_timed_every_round() -> None:
    calls: list[str] = []
    x = np.zeros((1, 1), dtype=np.float32)
    times = latency.timed([lambda x: calls.append("a"), lambda x: calls.append("b")], x, 30)
    assert times.shape == (30, 2) and np.all(times > 0)
    assert calls.count("a") == calls.count("b") == 80 and calls[:40].count("a") == 20
    orders = {tuple(calls[at : at + 2]) for at in range(0, 160, 2)}
    assert orders == {("a", "b"), ("b", "a")}


def test_times_of_a_machine_that_got_busy_are_uneven() -> None:
    times = np.random.default_rng(0).lognormal(0.0, 0.2, (2000, 3))
    assert latency.uneven(times) < 1.2
    times[:500] *= 2
    assert latency.uneven(times) == pytest.approx(2.0, rel=0.1)


def test_a_net_gives_the_same_answers_in_onnx_runtime() -> None:
    pytest.importorskip("onnxruntime", reason="pip install 'weigh[compress]'")
    learn, test = _digits().split(900, 300)
    layers = _nets.trained(learn, (12,), seed=0, epochs=40)
    assert np.allclose(latency._session(layers, int8=False)(test.x), _nets.scores(layers, test.x), atol=1e-4)
    eight = latency._session(layers, int8=True)(test.x).argmax(axis=1)
    assert (eight == _nets.scores(layers, test.x).argmax(axis=1)).mean() > 0.95
