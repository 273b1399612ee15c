"""What is held of every choice."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from weigh import catalog
from weigh.checks._subject import Check, Skipped, Subject, hold
from weigh.choice import Choice, Option
from weigh.decision import Constraint, Decision
from weigh.engine.inline import InlineEngine

REJECTED = {"dominated", "violates", "failed"}
RACES = 1
TWIN_RACES = 3
TWIN_BLOCKS = 30
"""Enough to see a choice whose twins are no twins; `benchmarks/honesty.py` counts over hundreds of races."""


def asks_a_question(subject: Subject) -> None:
    """The choice asks a question, and its task, options and measures are documented."""
    made = subject.made
    hold(re.fullmatch(r"[a-z]+/[a-z_]+", made.name), f"the name {made.name!r} is not area/choice")
    hold(
        made.question.endswith("?"), f"the question of {made.name} does not end with a question mark: {made.question!r}"
    )
    for cls in (made.task, made.option):
        hold((cls.__doc__ or "").strip(), f"{cls.__name__} has no docstring")
    for name, info in made.task.model_fields.items():
        hold(info.description, f"the task field {name} of {made.name} has no meaning: Field(..., description='...')")
    for measure in made.measures:
        hold(measure.meaning, f"the measure {measure.name} of {made.name} has no meaning")
    hold(made.assumptions, f"{made.name} states no assumptions, so nothing would ever re-open its decisions")


def has_an_abstract_option(subject: Subject) -> None:
    """Options implement at least one abstract method, and it is documented."""
    base = subject.made.option
    methods = sorted(getattr(base, "__abstractmethods__", ()))
    hold(methods, f"{base.__name__} has no abstract method, so its options have nothing to do")
    for name in methods:
        hold(
            inspect.getdoc(getattr(base, name)), f"{base.__name__}.{name} has no docstring: say what it takes and gives"
        )


def fits_together(subject: Subject) -> None:
    """Measures are unique; cost, baseline and the choice's own constraints exist; what is planted has names."""
    made = subject.made
    names = [measure.name for measure in made.measures]
    hold(names and len(set(names)) == len(names), f"the measures of {made.name} are none, or not unique: {names}")
    hold(made.cost in names, f"the cost {made.cost!r} of {made.name} is no measure of it: {names}")
    hold(
        made.baseline and catalog.find(made, made.baseline),
        f"the baseline of {made.name} is missing",
    )
    for text in made.require:
        Constraint.parse(text, made.measures)
    planted = [option.spec for option in (made.loser(), *made.twins(), catalog.find(made, made.baseline))]
    hold(
        len(set(planted[:3])) == 3 and planted[0] != planted[3],
        f"loser, twins and baseline of {made.name} are typed alike ({', '.join(planted)}): give each class a name",
    )


def has_a_steady_toy(subject: Subject) -> None:
    """The toy task is the same for the same seed, opens, and has fresh blocks to confirm on."""
    seen = [_toy_facts(subject.made, subject.folder / name) for name in ("first", "second")]
    hold(
        seen[0] == seen[1],
        f"the toy task of {subject.made.name} differs between two calls with one seed: draw from the seed only",
    )
    hold(
        subject.blocks.fresh > 0,
        f"the toy task of {subject.made.name} has no fresh blocks, so no winner can be confirmed",
    )


def _toy_facts(made: Choice, folder: Path) -> tuple[str, dict[str, bytes]]:
    folder.mkdir()
    task = made.toy(folder, 0)
    text = json.dumps(task.model_dump(mode="json"), sort_keys=True).replace(str(folder), "")
    return text, {
        str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def starts_new_options(subject: Subject) -> None:
    """An option that `weigh new` writes loads, and says what to fill in when it is run."""
    from weigh.cli._template import render

    path = subject.folder / "written_by_new.py"
    path.write_text(render(subject.made, path.stem), encoding="utf-8")
    option = catalog.find(subject.made, str(path))
    if missing := option.needs.missing():
        raise Skipped("; ".join(missing))
    for trial in subject.trials(option):
        clear = trial.status in ("measured", "unfit") or (trial.status == "failed" and "fill in" in trial.reason)
        hold(
            clear,
            f"a new option of {subject.made.name} ends as {trial.status}: {trial.reason}; it must say what to fill in",
        )


def rejects_the_loser(subject: Subject) -> None:
    """The planted loser is never chosen over the baseline, and is rejected; bench-honesty counts how often."""
    loser = subject.made.loser()
    outcomes = []
    for decision in _races(subject, [loser], RACES, 0):
        hold(
            decision.chosen != loser.spec or decision.verdict not in ("chosen", "tie"),
            f"{subject.made.name} chose its planted loser {loser.spec}: {decision.answer}",
        )
        outcomes.append(decision.standing(loser.spec).outcome)
    hold(
        REJECTED & set(outcomes),
        f"{subject.made.name} never rejects its planted loser {loser.spec}: {', '.join(outcomes)}",
    )


def has_independent_twins(subject: Subject) -> None:
    """The twins have randomness of their own: their values differ."""
    one, other = ([trial.values for trial in subject.measured(twin)] for twin in subject.made.twins())
    apart = [
        m.name
        for m in subject.measures
        if m.kind != "time" and any(a[m.name] != b[m.name] for a, b in zip(one, other, strict=True))
    ]
    timed = subject.measures[0].kind == "time"
    hold(
        apart or timed,
        f"the twins of {subject.made.name} give the same values on every block, so that their race proves nothing",
    )


def ties_the_twins(subject: Subject) -> None:
    """Twins are told apart no more often than chance allows."""
    twins = [twin.spec for twin in subject.made.twins()]
    told = []
    for seed, decision in enumerate(_races(subject, subject.made.twins(), TWIN_RACES, TWIN_BLOCKS)):
        beaten = [spec for spec in twins if decision.standing(spec).outcome == "dominated" and decision.chosen in twins]
        told += [seed] if beaten else []
    hold(
        len(told) <= 1,
        f"{subject.made.name} tells its twins {' and '.join(twins)} apart for seeds {told} of {TWIN_RACES}",
    )


CHOICE_CHECKS: tuple[Check, ...] = (
    asks_a_question, has_an_abstract_option, fits_together, has_a_steady_toy, starts_new_options, rejects_the_loser,
    has_independent_twins, ties_the_twins,
)  # fmt: skip


def _races(subject: Subject, options: Sequence[Option], count: int, blocks: int) -> Iterator[Decision]:
    """Races over the toy task, each with its own seed; at most so many blocks of each (0: all)."""
    from weigh.flow import decide

    for seed in range(count):
        yield decide(
            subject.ref,
            subject.task,
            options=list(options),
            seed=seed,
            budget=blocks or "",
            ledger=subject.folder / f"ledger-{options[0].name}-{seed}.db",
            records=None,
            engine=InlineEngine(),
        )
