"""Decision rules on questions whose truth is known: who ships violators, at what cost, after how many measurements.

``make bench-decisions [ARGS="--families NAME --rules weigh,uniform_race --replications 20 --rule ./mine.py"]`` asks
every rule every question of every family, again and again on new draws, and scores it by the exhaustive tables. What
was played is kept under ``benchmarks/results/.decisions``: a killed run goes on where it was, and a rule or family that
did not change is not played again; ``--again`` forgets it. A run of some families or rules prints and writes nothing.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Mapping, Sequence

os.environ["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS", "1")  # processes, not threads, share the cores

from benchmarks._result import report, table
from benchmarks.decisions import rulebook
from benchmarks.decisions.family import Family
from benchmarks.decisions.kept import Kept
from benchmarks.decisions.play import Outcome
from benchmarks.decisions.run import jobs, run
from benchmarks.decisions.score import Score, summed

Scores = Mapping[str, Mapping[str, Score]]
ALPHA = 0.05


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """What is typed."""
    known = argparse.ArgumentParser(prog="python -m benchmarks.decisions", description=__doc__)
    known.add_argument("--families", default="", help="names, or beginnings of them, with commas; all by default")
    known.add_argument("--rules", default="", help="names of benchmarks/decisions/rules, with commas; all by default")
    known.add_argument(
        "--rule", action="append", default=[], metavar="PATH", help="a rule of yours: a file with decide()"
    )
    known.add_argument("--replications", type=int, default=200, help="a setting of a family")
    known.add_argument("--slow-replications", type=int, default=20, help="the same for rules that say SLOW = True")
    known.add_argument("--twins", type=int, default=2000, help="A/A runs a rule; 0 for none")
    known.add_argument("--jobs", type=int, default=2, help="processes")
    known.add_argument("--again", action="store_true", help="forget what was played before")
    return known.parse_args(words)


def wanted(names: Sequence[str], asked: str) -> list[str]:
    """Families by name or beginning of a name.

    Raises:
        SystemExit: a beginning fits none.
    """
    starts = tuple(word for word in asked.split(",") if word)
    for start in starts:
        if not any(name.startswith(start) for name in names):
            raise SystemExit(f"no family is called {start}...: there are {', '.join(names)}")
    return [name for name in names if name.startswith(starts)] if starts else list(names)


def play(families: Sequence[Family], asked: argparse.Namespace) -> Scores:
    """Scores by rule and family; prints a line a rule and family as soon as it is through."""
    named = [word for word in asked.rules.split(",") if word] or (
        [] if asked.rule and asked.rules else rulebook.names()
    )
    rules = {
        rule: asked.slow_replications if getattr(rulebook.module(rule), "SLOW", False) else asked.replications
        for rule in [*named, *asked.rule]
    }
    todo = jobs(families, rules)
    settings = {family.name: len(family.settings) for family in families}
    played: dict[tuple[str, str], dict[int, list[Outcome]]] = {}
    scores: dict[str, dict[str, Score]] = {rulebook.path(rule).stem: {} for rule in rules}
    start, done, fresh = time.perf_counter(), 0, 0
    for job, outcomes, new in run(families, todo, asked.jobs):
        of = played.setdefault((job.rule, job.family), {})
        of[job.setting], done, fresh = outcomes, done + 1, fresh + new
        if len(of) == settings[job.family]:
            score = Score.of([of[setting] for setting in sorted(of)])
            scores[rulebook.path(job.rule).stem][job.family] = score
            _tell(f"{done}/{len(todo)} {time.perf_counter() - start:.0f} s", job.rule, job.family, score, of)
    print(f"{fresh} replications played, the others were kept from before", flush=True)
    order = [family.name for family in families]
    return {rule: {name: of[name] for name in order} for rule, of in scores.items()}


def _tell(so_far: str, rule: str, family: str, score: Score, outcomes: Mapping[int, Sequence[Outcome]]) -> None:
    line = f"[{so_far}] {family} {rule}: violators {100 * score.violators:.2f} %, cost {score.cost_ratio:.3f}"
    print(f"{line}, measured {100 * score.measured_fraction:.1f} %, {1000 * score.seconds:.0f} ms", flush=True)
    if score.errors:
        first = next(outcome.error for of in outcomes.values() for outcome in of if outcome.error)
        print(f"    {score.errors} errors, as in: {first}", flush=True)


def show(scores: Scores) -> None:
    """A row a rule; then a row a family for weigh."""
    rows = []
    for rule, of in sorted(scores.items(), key=lambda item: item[0] != "weigh"):
        told = summed(of)
        shares = [_percent(told[key]) for key in ("violators_max", "violators_upper_max", "violators_mean")]
        rest = [_percent(told["measured_fraction_mean"]), told["winner_bias_pp"], _percent(told["certified"])]
        rows.append((rule, told["replications"], *shares, told["cost_ratio_mean"], *rest, told["errors"]))
    columns = ("rule", "played", "violators, worst family", "upper 95 % bound", "mean of families", "cost / oracle's")
    table((*columns, "measured", "bias, pp", "certified", "errors"), rows)
    for rule in [rule for rule in scores if rule == "weigh" or rulebook_free(rule)]:
        _families(rule, scores[rule])


def rulebook_free(rule: str) -> bool:
    """A rule from outside."""
    return rule not in rulebook.names()


def _families(rule: str, scores: Mapping[str, Score]) -> None:
    rows = [
        (
            *(name, _percent(of.violators), _percent(of.violators_upper), of.cost_ratio),
            *(_percent(of.measured_fraction), of.bias_pp, _percent(of.certified), _percent(of.nothing)),
        )
        for name, of in scores.items()
    ]
    columns = (f"{rule}, by family", "violators", "upper 95 % bound", "cost / oracle's", "measured", "bias, pp")
    table((*columns, "certified", "nothing shipped"), rows)


def _percent(share: object) -> str:
    return f"{100 * share:.2f} %" if isinstance(share, float) and share == share else "-"


def main() -> None:
    """Play, print, write."""
    from benchmarks.decisions import store

    asked = arguments()
    if asked.again:
        Kept().forget()
    families = [store.load(name) for name in wanted(list(store.makers()), asked.families)]
    scores = play(families, asked)
    show(scores)
    figures: dict[str, object] = {"families": len(families), "alpha": ALPHA}
    figures |= {"rules": {rule: summed(of) for rule, of in scores.items()}}
    figures |= {"by_family": {rule: {name: s.figures() for name, s in of.items()} for rule, of in scores.items()}}
    report("decisions", figures)


if __name__ == "__main__":
    main()
