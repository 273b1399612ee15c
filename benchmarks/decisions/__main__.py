"""Decision rules on questions whose truth is known: who ships violators, at what cost, after how many measurements.

``make bench-decisions [ARGS="--families NAME --rules weigh,uniform_race --replications 20 --rule ./mine.py"]`` asks
every rule every question of every family, again and again on new draws, and scores it by the exhaustive tables. What
was played is kept under ``benchmarks/results/.decisions``: a killed run goes on where it was, and a rule or family that
did not change is not played again; ``--again`` forgets it. A run of some families or rules prints and writes nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool

os.environ["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS", "1")  # processes, not threads, share the cores

from benchmarks._ask import at_least, told
from benchmarks._result import RESULTS, report, table
from benchmarks.decisions import rulebook
from benchmarks.decisions.family import Family
from benchmarks.decisions.kept import Kept
from benchmarks.decisions.play import Outcome
from benchmarks.decisions.run import jobs, run
from benchmarks.decisions.score import Score, summed
from weigh.choice import UsageError

Scores = Mapping[str, Mapping[str, Score]]
ALPHA = 0.05


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """What is typed."""
    known = argparse.ArgumentParser(prog="python -m benchmarks.decisions", description=__doc__)
    known.add_argument("--families", default="", help="names, or beginnings of them, with commas; all by default")
    known.add_argument("--rules", default="", help="names of benchmarks/decisions/rules, with commas; all by default")
    known.add_argument(
        "--rule",
        action="append",
        default=[],
        metavar="PATH",
        help="a rule of yours, a file with decide(); alone, unless --rules names others",
    )
    known.add_argument("--replications", type=at_least(1), default=200, help="a setting of a family")
    known.add_argument(
        "--rival-replications", type=at_least(1), help="the same for all rules but weigh; as many if not given"
    )
    known.add_argument(
        "--slow-replications", type=at_least(1), default=10, help="the same for rules that say SLOW = True"
    )
    known.add_argument("--twins", type=at_least(0), default=2000, help="A/A runs a rule; 0 for none")
    known.add_argument("--jobs", type=at_least(1), default=2, help="processes")
    known.add_argument("--again", action="store_true", help="forget what was played before")
    return known.parse_args(words)


def wanted(names: Sequence[str], asked: str) -> list[str]:
    """Families by name or beginning of a name.

    Raises:
        UsageError: a beginning fits none.
    """
    starts = tuple(word for word in asked.split(",") if word)
    for start in starts:
        if not any(name.startswith(start) for name in names):
            raise UsageError(f"no family is called {start}...: there are {', '.join(names)}")
    return [name for name in names if name.startswith(starts)] if starts else list(names)


def rules(asked: argparse.Namespace) -> dict[str, int]:
    """The rules that play, by name or path, and how many replications each gets.

    Raises:
        UsageError: a rule is not there or cannot be imported, or two are called the same.
    """
    named = [word for word in asked.rules.split(",") if word] or ([] if asked.rule else rulebook.names())
    slow = {rule: getattr(rulebook.module(rule), "SLOW", False) for rule in [*named, *asked.rule]}
    _named_apart(list(slow))
    rivals = asked.rival_replications or asked.replications
    return {
        rule: asked.slow_replications if slow[rule] else asked.replications if rule == "weigh" else rivals
        for rule in slow
    }


def _named_apart(playing: Sequence[str]) -> None:
    """Scores are told by the names of files, so that a file called as a rule of the folder would be taken for it."""
    files = {rulebook.path(name).resolve() for name in [*rulebook.names(), *playing]}
    for rule in playing:
        if sum(file.stem == rulebook.path(rule).stem for file in files) > 1:
            raise UsageError(f"two rules are called {rulebook.path(rule).stem}: give the file of yours another name")


def play(family: Family, playing: Mapping[str, int], workers: int, so_far: str) -> dict[str, Score]:
    """Scores by rule on one family; prints a line a rule as soon as it is through."""
    played: dict[str, dict[int, list[Outcome]]] = {rule: {} for rule in playing}
    scores: dict[str, Score] = {}
    try:
        for job, outcomes in run(family, jobs(family, playing), workers):
            of = played[job.rule]
            of[job.setting] = outcomes
            if len(of) == len(family.settings):
                score = Score.of([of[setting] for setting in sorted(of)])
                scores[job.rule] = score
                _tell(so_far, job.rule, family.name, score, of)
    except BrokenProcessPool:
        left = ", ".join(rule for rule in playing if rule not in scores)
        raise UsageError(
            f"a process died while {left} played {family.name}: what was played before is kept; give it one rule "
            "with --jobs 1 to see which and why, or the same command again where it was killed"
        ) from None
    return {rulebook.path(rule).stem: scores[rule] for rule in playing}


def _tell(so_far: str, rule: str, family: str, score: Score, outcomes: Mapping[int, Sequence[Outcome]]) -> None:
    line = f"[{so_far}] {family} {rule}: violators {100 * score.violators:.2f} %, cost {score.cost_ratio:.3f}"
    print(f"{line}, measured {100 * score.measured_fraction:.1f} %, {1000 * score.seconds:.0f} ms", flush=True)
    if score.errors:
        first = next(outcome.error for of in outcomes.values() for outcome in of if outcome.error)
        print(f"    {score.errors} errors, as in: {first}", flush=True)


def show(scores: Scores, twins: Mapping[str, float]) -> None:
    """A row a rule; then a row a family for weigh and for rules from outside."""
    rows = []
    for rule, of in sorted(scores.items(), key=lambda item: item[0] != "weigh"):
        told = summed(of)
        shares = [_percent(told[key]) for key in ("violators_max", "violators_upper_max", "violators_mean")]
        cost, bias = told["cost_ratio_mean"], told["winner_bias_pp"]
        rest = [_percent(told["measured_fraction_mean"]), bias, _percent(told["certified"]), _percent(twins.get(rule))]
        rows.append((rule, told["replications"], *shares, cost, *rest, told["errors"]))
    columns = (
        "rule",
        "replications",
        "violators, worst family",
        "upper 95 % bound",
        "violators, mean",
        "cost / oracle's",
    )
    table((*columns, "measured", "bias, pp", "certified", "A/A better", "errors"), rows)
    for rule in [rule for rule in scores if rule == "weigh" or rule not in rulebook.names()]:
        _families(rule, scores[rule])


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


def figures(scores: Scores, twins: Mapping[str, float]) -> dict[str, object]:
    """weigh's figures, then those of every rule, then those of every family and rule."""
    told = {rule: summed(of) | _better(twins, rule) for rule, of in scores.items()}
    by_family: dict[str, dict[str, object]] = {}
    for rule, of in scores.items():
        for name, score in of.items():
            by_family.setdefault(name, {})[rule] = score.figures()
    return {
        **told.get("weigh", {"families": len(by_family)}),
        "alpha": ALPHA,
        **_latency(),
        "rules": told,
        "by_family": by_family,
    }


def _better(twins: Mapping[str, float], rule: str) -> dict[str, object]:
    return {"aa_better_rate": twins[rule]} if rule in twins else {}


def _latency() -> dict[str, object]:
    """What `make bench-latency` found, and at which commit."""
    path = RESULTS / "latency.json"
    if not path.exists():
        return {}
    found = json.loads(path.read_text())
    return {
        "latency_2pct_found": found["figures"]["latency_2pct_found"],
        "latency_aa_false": found["figures"]["latency_aa_false"],
        "latency_commit": found["commit"],
    }


def main() -> None:
    """Play, print, write."""
    asked = arguments()
    with told():
        _all(asked)


def _all(asked: argparse.Namespace) -> None:
    from benchmarks.decisions import plot, store
    from benchmarks.decisions import twins as aa

    names, playing, start = wanted(list(store.makers()), asked.families), rules(asked), time.perf_counter()
    if asked.again:
        Kept().forget()
    scores: dict[str, dict[str, Score]] = {rulebook.path(rule).stem: {} for rule in playing}
    columns: list[aa.Column] = []
    for place, name in enumerate(names, 1):
        family = store.load(name)
        columns += aa.columns(family)
        so_far = f"{place}/{len(names)}, {time.perf_counter() - start:.0f} s"
        for rule, score in play(family, playing, asked.jobs, so_far).items():
            scores[rule][name] = score
    twins = aa.rates(columns, asked.twins, asked.jobs) if asked.twins and columns else {}
    show(scores, twins)
    found = figures(scores, twins)
    if asked.families or asked.rules or asked.rule:
        print(json.dumps(found), flush=True)
    else:
        plot.draw(found["rules"], scores.get("weigh", {}))
        report("decisions", found)


if __name__ == "__main__":
    main()
