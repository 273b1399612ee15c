"""bench-decisions: how rules are asked, measured and scored, on a small table whose truth is known."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from benchmarks.decisions import __main__ as command
from benchmarks.decisions import plot, rulebook, truth, twins
from benchmarks.decisions.asked import Asked, Meter, Shipped
from benchmarks.decisions.family import Family
from benchmarks.decisions.play import RUN, Question, Table
from benchmarks.decisions.rules import _bets, _contrast, f_race
from benchmarks.decisions.rules._estimate import Sheet
from benchmarks.decisions.rules._order import critical_count
from benchmarks.decisions.run import jobs, run
from benchmarks.decisions.score import Score, summed, upper
from weigh.choice import UsageError
from weigh.scale.bets import Tally
from weigh.scale.gauge import Gauge, Limit

UNITS, BLOCK = 3000, 30
DROPS = (0.10, 0.025, 0.022, 0.0, 0.0)
SETTINGS: tuple[tuple[Limit, ...], ...] = (
    (Limit("accuracy", ">=", -0.02, "difference"),),
    (Limit("latency", "<=", 0.9, "ratio"), Limit("accuracy", ">=", 0.8)),
    (Limit("p95", "<=", 1.0, "ratio"),),
    (Limit("p95", "<=", 3.0), Limit("size", "<=", 0.9, "ratio")),
    (Limit("size", "<=", 45.0),),
)


def family(objective: str = "size", serial: bool = False, population: int | None = None) -> Family:
    """Five options; the two that are cheapest but one lie just beyond a floor of two points."""
    random = np.random.default_rng(1)
    right = random.permutation(np.arange(UNITS) < 0.9 * UNITS)
    columns = [right & (random.permutation(UNITS) >= drop * UNITS / 0.9) for drop in DROPS]
    size = np.array([10.0, 20.0, 30.0, 40.0, 50.0])
    noise = np.exp(random.normal(0.0, 0.2, (UNITS, 1)) + random.normal(0.0, 0.05, (UNITS, 5)))
    gauges = (
        Gauge("size", "exact", "lower"),
        Gauge("accuracy", "mean", "higher", population=population),
        Gauge("latency", "time", "lower"),
        Gauge("p95", "quantile", "lower", q=0.95),
    )
    times = noise * size / 25.0
    return Family(
        name=f"small-{objective}",
        kind="compressed",
        source="drawn",
        options=("tiny", "short", "close", "fine", "whole"),
        baseline="whole",
        gauges=gauges,
        exact={"size": size},
        values={"accuracy": np.stack(columns, axis=1).astype(float), "latency": times, "p95": times},
        objective=objective,
        settings=SETTINGS,
        serial=serial,
        block=BLOCK,
    )


TABLE = Table(family())
FINITE = Table(family(population=UNITS))


@pytest.mark.parametrize("rule", rulebook.names())
def test_every_rule_ships_an_option_of_every_question(rule):
    if rule == "wilcoxon_pruner":
        pytest.importorskip("optuna", reason="optuna is not installed: pip install -e '.[bench]'")
    decide = rulebook.load(rule)
    for objective in ("size", "accuracy"):
        table = Table(family(objective))
        for limits in SETTINGS:
            outcome = Question(table, limits).play(decide, 3)
            assert not outcome.error, outcome.error
            assert outcome.option in table.family.options
            assert 0.0 <= outcome.used <= 1.0
            assert outcome.violated or outcome.nothing or outcome.cost_ratio >= 1.0 - 1e-9


def test_point_rule_ships_violators_and_they_are_counted():
    question = Question(TABLE, SETTINGS[0])
    assert question.feasible.tolist() == [False, False, False, True, True]
    played = [question.play(rulebook.load("point_1000"), seed) for seed in range(40)]
    score = Score.of([played])
    assert score.violators > 0.3
    assert all(outcome.violated == (outcome.option in ("tiny", "short", "close")) for outcome in played)
    assert score.bias_pp > 0.2, "what was picked by its own estimate is flattered by it"
    assert math.isnan(next(outcome for outcome in played if outcome.violated).cost_ratio)


def test_point_rule_looks_at_so_many_units_and_not_at_whole_blocks():
    question = Question(TABLE, SETTINGS[0])
    for most, seen in ((100, 100), (None, 4 * BLOCK)):
        sheet = Sheet(question.asked, TABLE.meter(0), most)
        for _ in range(4):
            sheet.read(sheet.candidates)
        x, base = sheet.pairs("accuracy", sheet.candidates)
        assert x.shape == (5, seen) and base.shape == (seen,)


def test_uniform_race_rarely_ships_violators():
    question = Question(FINITE, SETTINGS[0])
    outcomes = [question.play(rulebook.load("uniform_race"), seed) for seed in range(40)]
    assert sum(outcome.violated for outcome in outcomes) <= 4
    assert {outcome.option for outcome in outcomes if not outcome.violated} == {"fine"}, (
        "a finite table is known in the end"
    )


def test_meter_counts_an_option_on_a_block_once():
    def decide(asked: Asked, meter: Meter, seed: int) -> Shipped:
        for _ in range(3):
            meter.measure(0, asked.options[:2])
        meter.measure(0, asked.options)
        meter.measure(4, ["fine"])
        return Shipped("fine", True)

    outcome = Question(TABLE, SETTINGS[0]).play(decide, 0)
    assert outcome.used == pytest.approx(6 * BLOCK / (UNITS * 5))


def test_options_see_the_same_units_of_a_block_and_a_seed_the_same_blocks():
    meter, again = TABLE.meter(7), TABLE.meter(7)
    first, whole = meter.measure(2, ["fine"]), again.measure(2, TABLE.family.options)
    assert np.array_equal(first["fine"]["accuracy"], whole["fine"]["accuracy"])
    rows = TABLE.rows(7)[2]
    assert np.array_equal(whole["tiny"]["latency"], TABLE.family.values["latency"][rows, 0])
    assert not np.array_equal(rows, TABLE.rows(8)[2])
    question = Question(TABLE, SETTINGS[1])
    one, two = (question.play(rulebook.load("successive_halving"), 5) for _ in range(2))
    assert (one.option, one.used) == (two.option, two.used)


def test_rows_are_drawn_as_the_table_says():
    assert len(np.unique(TABLE.rows(0))) < UNITS, "with replacement"
    assert np.array_equal(np.sort(FINITE.rows(0).ravel()), np.arange(UNITS)), "a finite set, each member once"
    rows = Table(family(serial=True)).rows(0).ravel()
    steps = np.diff(rows) % UNITS
    assert np.flatnonzero(steps != 1).tolist() == list(range(RUN // BLOCK * BLOCK - 1, UNITS - 1, RUN // BLOCK * BLOCK))


def test_baseline_that_breaks_a_limit_is_a_violator_only_if_it_is_certified():
    question = Question(TABLE, SETTINGS[4])
    claimed, fallen = (question.play(lambda *_, c=certain: Shipped("whole", c), 0) for certain in (True, False))
    assert claimed.violated and not claimed.nothing
    assert fallen.nothing and not fallen.violated


def test_rule_that_raises_is_an_error_and_ships_nothing():
    def decide(asked: Asked, meter: Meter, seed: int) -> Shipped:
        raise RuntimeError("out of ideas")

    outcome = Question(TABLE, SETTINGS[0]).play(decide, 0)
    assert outcome.error == "RuntimeError: out of ideas"
    assert not outcome.certified and not outcome.violated
    unknown = Question(TABLE, SETTINGS[0]).play(lambda *_: Shipped("other", True), 0)
    assert "none of the options" in unknown.error


MINE = """
from pathlib import Path
from benchmarks.decisions.asked import Shipped

def decide(asked, meter, seed):
    with Path({log!r}).open("a") as log:
        log.write("x")
    meter.measure(0, asked.options)
    return Shipped("fine", True)
"""


def test_rule_from_outside_plugs_in_and_a_second_run_plays_nothing(tmp_path, capsys):
    log, mine = tmp_path / "log", tmp_path / "mine.py"
    mine.write_text(MINE.format(log=str(log)))
    todo = jobs(TABLE.family, {str(mine): 3})
    first = dict(run(TABLE.family, todo, 1, tmp_path / "kept"))
    assert log.read_text() == "x" * 3 * len(SETTINGS)
    second = dict(run(TABLE.family, todo, 1, tmp_path / "kept"))
    assert {job: [o.option for o in of] for job, of in second.items()} == {
        job: [o.option for o in of] for job, of in first.items()
    }
    assert len(log.read_text()) == 3 * len(SETTINGS)
    list(run(TABLE.family, jobs(TABLE.family, {str(mine): 4}), 1, tmp_path / "kept"))
    assert len(log.read_text()) == 4 * len(SETTINGS), "only the replications that were missing"
    list(run(family("accuracy"), jobs(TABLE.family, {str(mine): 1}), 1, tmp_path / "kept"))
    assert len(log.read_text()) == 5 * len(SETTINGS), "another table is another question"
    assert (tmp_path / "kept" / ".gitignore").read_text() == "*\n"


def test_rule_that_is_not_there_is_refused_with_what_there_is(tmp_path):
    with pytest.raises(ValueError, match=r"no rule 'nobody': give one of bonferroni, .*\./mine\.py"):
        rulebook.load("nobody")
    empty = tmp_path / "empty.py"
    empty.write_text("")
    with pytest.raises(ValueError, match=r"has no decide\(asked, meter, seed\)"):
        rulebook.load(str(empty))


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("def decide(asked, meter, seed:", r"cannot be imported: SyntaxError: .*mine\.py, line 1"),
        ("import no_such_package", "cannot be imported: ModuleNotFoundError: No module named 'no_such_package'; mend"),
        ("raise SystemExit(3)", "cannot be imported: SystemExit: 3"),
        ("decide = 5", r"has no decide\(asked, meter, seed\)"),
    ],
)
def test_file_that_is_no_rule_is_refused_before_anything_is_played(tmp_path, body, why):
    mine = tmp_path / "mine.py"
    mine.write_text(body)
    with pytest.raises(UsageError, match=why):
        command.rules(command.arguments(["--rule", str(mine)]))


def test_rules_that_are_called_the_same_are_refused(tmp_path):
    mine = tmp_path / "weigh.py"
    mine.write_text("def decide(asked, meter, seed): ...")
    for words in (["--rule", str(mine)], ["--rule", str(mine), "--rules", "weigh"]):
        with pytest.raises(UsageError, match="two rules are called weigh: give the file of yours another name"):
            command.rules(command.arguments(words))


def test_rule_whose_process_dies_is_told_in_words(tmp_path, monkeypatch):
    mine = tmp_path / "mine.py"
    mine.write_text("import os\ndef decide(asked, meter, seed): os._exit(4)")
    monkeypatch.setattr(command, "run", partial(run, folder=tmp_path / "kept"))
    with pytest.raises(UsageError, match=r"a process died while .*mine.py played small-size: .* --jobs 1"):
        command.play(TABLE.family, {str(mine): 1}, 2, "")


def test_again_forgets_nothing_where_what_was_asked_cannot_work(monkeypatch, capsys):
    monkeypatch.setattr(command.Kept, "forget", lambda self: pytest.fail("it is forgotten"))
    monkeypatch.setattr("sys.argv", ["decisions", "--again", "--families", "snow"])
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 2 and "no family is called snow" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--replications", "0"], ["--jobs", "0"], ["--twins", "-1"], ["--jobs", "two"]])
def test_numbers_that_cannot_work_are_refused(words, capsys):
    with pytest.raises(SystemExit) as ended:
        command.arguments(words)
    assert ended.value.code == 2 and "; type " in capsys.readouterr().err


def test_digest_of_a_rule_covers_what_it_imports():
    files = {path.name for path in rulebook.files("uniform_race")}
    assert {"uniform_race.py", "_bets.py", "_estimate.py", "bets.py", "asked.py", "_order.py"} <= files
    assert "f_race.py" not in files


@pytest.mark.parametrize("objective", ["size", "accuracy"])
def test_estimates_of_the_whole_table_are_the_truth(objective):
    table = Table(family(objective, population=UNITS))
    for limits in SETTINGS[:4]:
        question = Question(table, limits)
        sheet = Sheet(question.asked, table.meter(0))
        for _ in range(UNITS // BLOCK):
            sheet.read(sheet.candidates)
        places, keeps = sheet.ranked(sheet.candidates)
        assert set(places[keeps].tolist()) == set(np.flatnonzero(question.feasible).tolist())
        assert places[0] == truth.oracle(table.family, limits)


def test_a_limit_is_met_where_the_mean_of_its_contrast_reaches_the_bound():
    values, gauges = TABLE.family.values, {gauge.name: gauge for gauge in TABLE.family.gauges}
    limits = [
        *(Limit("accuracy", op, -0.021, "difference") for op in ("<=", ">=")),
        *(Limit("accuracy", op, 0.99, "ratio") for op in ("<=", ">=")),
        *(Limit("accuracy", op, 0.87) for op in ("<=", ">=")),
        *(Limit("latency", op, 0.83, "ratio") for op in ("<=", ">=")),
        *(Limit("p95", op, 2.0) for op in ("<=", ">=")),
    ]
    for limit in limits:
        x, base = values[limit.gauge].T, values[limit.gauge][:, -1]
        z, bound = _contrast.of_limit(gauges[limit.gauge], limit, x, base)
        assert z.min() >= 0.0 and z.max() <= 1.0
        assert np.array_equal(z.mean(axis=1) >= bound, truth.feasible(TABLE.family, [limit])), limit


def test_bets_of_many_options_are_those_of_the_scale():
    random = np.random.default_rng(0)
    for z in (random.integers(0, 3, (4, 200)) / 2.0, random.integers(0, 129, (4, 200)) / 128.0):
        grown = _bets.grown(z, np.full(4, 0.4))
        for row, mine in zip(z, np.moveaxis(grown, 1, 0)):
            tally = Tally()
            tally.update(row)
            assert mine == pytest.approx(tally.logs(0.4), rel=1e-9)


def test_f_race_keeps_everyone_where_friedman_sees_nothing_and_drops_the_worst_where_it_does():
    from scipy.stats import friedmanchisquare

    random = np.random.default_rng(3)
    alike, apart = random.normal(size=(12, 4)), random.normal(size=(12, 4)) + np.array([0.0, 0.0, 3.0, 6.0])
    assert friedmanchisquare(*alike.T).pvalue > 0.05 and f_race.survivors(alike).all()
    assert f_race.survivors(apart).tolist() == [True, True, False, False]
    assert f_race.survivors(apart[:, [0, 3]]).tolist() == [True, False]
    assert f_race.survivors(alike[:, :2]).all()


def test_upper_bound_is_clopper_and_pearsons():
    assert upper(0, 100) == pytest.approx(1.0 - 0.05**0.01)
    assert upper(100, 100) == 1.0


def test_twins_are_rarely_called_better_by_weigh():
    columns = twins.columns(TABLE.family)
    assert [column.gauge.name for column in columns] == ["accuracy"] * 4
    assert twins.columns(family(serial=True)) == []
    assert sum(twins.weigh(columns[seed % 4], seed) for seed in range(12)) <= 2


def test_command_shows_and_draws_what_it_found(tmp_path, capsys):
    asked = command.arguments(["--rules", "point_1000,bonferroni", "--replications", "2"])
    playing = command.rules(asked)
    assert playing == {"point_1000": 2, "bonferroni": 2}
    found = {
        rule: {
            TABLE.family.name: Score.of(
                [of for job, of in run(TABLE.family, jobs(TABLE.family, {rule: 2}), 1, tmp_path)]
            )
        }
        for rule in playing
    }
    command.show(found, {"bonferroni": 0.01})
    assert "bonferroni" in capsys.readouterr().out
    told = command.figures(found, {"bonferroni": 0.01})
    assert told["rules"]["bonferroni"]["aa_better_rate"] == 0.01
    assert told["by_family"]["small-size"]["point_1000"]["runs"] == 2 * len(SETTINGS)
    assert summed(found["point_1000"])["families"] == 1
    drawn = plot.draw(told["rules"], found["bonferroni"], tmp_path / "drawn.svg")
    assert "<svg" in drawn.read_text()


def test_families_are_named_by_their_beginnings():
    names = ["census-deep", "census-wide", "rain-small"]
    assert command.wanted(names, "census,rain-small") == names
    assert command.wanted(names, "") == names
    with pytest.raises(UsageError, match="no family is called snow"):
        command.wanted(names, "snow")


def test_rules_from_the_folder_are_files_without_an_underscore():
    folder = Path(rulebook.__file__).parent / "rules"
    assert rulebook.names() == sorted(path.stem for path in folder.glob("[a-z]*.py"))


@pytest.mark.parametrize("q", [0.05, 0.5, 0.95])
def test_exact_chance_that_a_count_ever_reaches_the_critical_one(q: float) -> None:
    """Follows the distribution of the count through 600 values, without simulation."""
    alpha, last, rejected = 0.05, 600, 0.0
    alive = np.zeros(last + 2)
    alive[0] = 1.0
    for n in range(1, last + 1):
        alive[1:] = (1 - q) * alive[1:] + q * alive[:-1]
        alive[0] *= 1 - q
        critical = critical_count(q, n, alpha)
        rejected += alive[critical:].sum()
        alive[critical:] = 0.0
    assert 0.1 * alpha < rejected <= alpha


@pytest.mark.parametrize("objective", ["size", "accuracy"])
def test_the_rule_in_the_docs_plays(objective: str, tmp_path: Path) -> None:
    text = (Path(__file__).parents[1] / "docs" / "benchmark.md").read_text()
    mine = tmp_path / "mine.py"
    mine.write_text(text.split("```python\n")[1].split("```")[0])
    outcomes = [of for _, of in run(family(objective), jobs(family(objective), {str(mine): 3}), 1, tmp_path / "log")]
    assert len(outcomes) == len(SETTINGS) and not any(one.error for of in outcomes for one in of)
    assert any(one.certified for of in outcomes for one in of)
