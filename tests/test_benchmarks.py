"""The benchmarks run, and what is kept of them speaks of every choice."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Literal

import numpy as np
import pytest
from scipy.stats import binom

import weigh
from benchmarks import _bounds, coverage, honesty, judging, latency
from benchmarks._load import loaded
from benchmarks.honesty import race
from weigh import Ledger, catalog
from weigh.scale.bets import FRACTIONS, PRIOR, Tally, mixed
from weigh.scale.race import Race

RESULT = Path(__file__).parents[1] / "benchmarks" / "results" / "honesty.json"


@pytest.mark.parametrize("choice", ["compress/quantize", "cause/experiment"])
@pytest.mark.parametrize(("kind", "come_out"), [("twins", {"equal", "tie"}), ("loser", {"rejected"})])
def test_a_race_for_honesty_runs(tmp_path: Path, choice: str, kind: Literal["twins", "loser"], come_out: set[str]):
    task = catalog.choice(choice).toy(tmp_path)
    with Ledger(tmp_path / "ledger.db") as ledger:
        assert race(choice, task, kind, 0, ledger) in come_out


def test_the_honesty_that_is_kept_is_of_every_choice():
    figures = json.loads(RESULT.read_text(encoding="utf-8"))["figures"]
    kinds = ("tie_rate", "certified_rate", "loser_chosen", "loser_rejected")
    wanted = {f"{choice.replace('/', '_')}_{kind}" for choice in catalog.choices() for kind in kinds}
    missing = sorted(wanted - set(figures))
    assert not missing, f"{', '.join(missing)} are missing: type `make bench-honesty`"


def test_the_honesty_that_is_kept_is_of_a_commit():
    commit = json.loads(RESULT.read_text(encoding="utf-8"))["commit"]
    assert "+" not in commit, f"{commit} were not committed: commit first, then type `make bench-honesty`"


def test_a_latency_run_under_load_ends_with_its_load():
    import psutil

    with loaded(["python", "memory"]) as started:
        assert all(psutil.pid_exists(pid) for pid in started)
    assert not any(psutil.pid_exists(pid) for pid in started)
    one = latency.run("planted", 0, seconds=2.0, busy=1)
    assert one.outcome in ("faster", "open")
    assert one.rounds % latency.ROUNDS == 0
    assert 0.9 < one.ratio < 1.2


def test_latency_runs_are_kept_and_a_line_that_was_cut_off_is_not(tmp_path: Path):
    kept = latency.Kept(tmp_path)
    made = [
        latency.Run(kind, seed, outcome, 1.0, 25, 1.0, 0.5, "python")
        for kind, seed, outcome in (("planted", 0, "faster"), ("aa", 0, "equal"), ("aa", 1, "slower"))
    ]
    for one in made:
        kept.add(one)
    with kept.path.open("a") as file:
        file.write('{"kind": "aa", "se')
    assert list(kept.load().values()) == made
    found = latency.figures(made)
    assert (found["latency_2pct_found"], found["latency_aa_false"]) == (1.0, 0.5)


def test_exact_bounds_are_those_of_scipy():
    from scipy.stats import binomtest

    for count, n in ((0, 100), (3, 100), (100, 100)):
        truth = binomtest(count, n).proportion_ci(method="exact")
        assert latency.exact_bounds(count, n) == pytest.approx((truth.low, truth.high))


def test_paths_that_a_mean_misses_are_among_those_counted():
    """Wealth against a mean, after each value and for all paths at once, and the race's own, with its rounding."""
    x = np.random.default_rng(1).beta(0.2, 2.0, (40, 300))
    for mean in (0.05, 0.09, 0.13):
        whole, tallies = _bounds.ever(x, mean, FRACTIONS, PRIOR), [Tally() for _ in x]
        for part in np.split(x, 10, axis=1):
            for most, tally, values in zip(whole, tallies, part, strict=True):
                tally.update(values)
                assert all(mixed(logs) <= most[side] + 1e-9 for side, logs in enumerate(tally.logs(mean)))
        last = np.array([max(mixed(logs) for logs in tally.logs(mean)) for tally in tallies])
        assert np.median(whole.max(axis=1) - last) < 1.5


def test_a_case_of_coverage_is_one_function():
    def draw(rng: np.random.Generator, paths: int) -> np.ndarray:
        return rng.exponential(size=(paths, 200))

    case = coverage.Case("exponential", draw, np.log(2), coverage.Looked(coverage.of_quantile(0.5)))
    found = coverage.measure(case, 30)
    assert found.misses <= 5
    widths = [one[0] for one in found.widths.values()]
    assert widths == sorted(widths, reverse=True)


def test_hoeffding_and_binomial_bounds_are_closed_forms():
    """A mixture at its bound has the likelihood ratio 1 / alpha."""
    low, high = _bounds.binomial(30, 100, 0.05)
    for p in (low, high):
        assert binom.pmf(30, 100, p) * 101 == pytest.approx(0.05)
    assert _bounds.hoeffding(500, 0.05) == pytest.approx(0.0679, abs=1e-4)
    assert _bounds.between(np.arange(100.0), 0.25, 0.75) == 51.0
    assert _bounds.between(np.arange(10.0), 0.01, 0.5) == np.inf


@pytest.mark.parametrize("kind", judging.DRAWS)
def test_judging_asks_for_all_at_worst_and_for_little_where_options_differ(kind: str):
    worst, typical = (judging.play(kind, 12, 8, 200, typical) for typical in (False, True))
    assert worst.measured == 1.0
    assert 0 < typical.measured < 1
    assert 0 < typical.seconds < worst.seconds + 1


def test_a_clock_counts_what_is_nested_once():
    ticks = iter(range(100))
    clock = judging.Clock(lambda: float(next(ticks)))
    with clock.running():
        with clock.running():
            pass
        with clock.running():
            pass
    assert clock.spent == 3.0


def test_races_that_are_watched_are_counted_by_choice(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(weigh, "decide", lambda choice: judging.play("binary", 4, 3, 50, typical=False))
    judge = Race.judge
    with judging.watched() as found:
        weigh.decide("a/choice")
        weigh.decide("a/choice")
    one = found["a/choice"]
    assert 0 < one.scale < one.whole
    assert one.judgements == 6
    assert Race.judge is judge


@pytest.mark.parametrize(
    ("module", "words", "why"),
    [
        (coverage, ["--only", "snow"], "no case is called snow...: there are bernoulli"),
        (honesty, ["--choice", "monitor/snow"], "there is no choice 'monitor/snow'"),
        (judging, ["--options", "1"], "argument --options: 1 is too small; type 2 or more"),
        (latency, ["--runs", "some"], "argument --runs: 'some' is no whole number; type one such as 10"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_a_line(
    module: ModuleType, words: list[str], why: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("sys.argv", [module.__name__, *words])
    with pytest.raises(SystemExit) as ended:
        module.main()
    assert ended.value.code == 2 and why in capsys.readouterr().err
