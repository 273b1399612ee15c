"""A decision in rows of words: its options, how far each came in the race, and what the fresh blocks say."""

from __future__ import annotations

from typing import NamedTuple

from weigh.choice import Measure
from weigh.decision import Decision, Estimate, Lock, Standing
from weigh.report.history import head, palette
from weigh.scale.figures import number as number_text
from weigh.show import count, interval, known, left, measures, ordered


class Badge(NamedTuple):
    """A word with a sign before it, so that colour says nothing alone."""

    kind: str
    sign: str
    word: str


OUTCOMES = {
    "chosen": Badge("chosen", "✓", "chosen"),
    "leading": Badge("tied", "→", "leading, not settled"),
    "tied": Badge("tied", "=", "tied"),
    "undecided": Badge("undecided", "?", "undecided"),
    "dominated": Badge("dominated", "↓", "dominated"),
    "violates": Badge("violates", "✕", "violates"),
    "failed": Badge("failed", "!", "failed"),
}
VERDICTS = {
    "chosen": Badge("chosen", "✓", "decided"),
    "tie": Badge("tied", "=", "tie"),
    "undecided": Badge("undecided", "?", "not enough evidence"),
    "none": Badge("violates", "✕", "no option will do"),
}
CONFIRMATIONS = {
    "confirmed": Badge("chosen", "✓", "confirmed on fresh blocks"),
    "contradicted": Badge("violates", "✕", "contradicted on fresh blocks"),
    "inconclusive": Badge("undecided", "?", "fresh blocks too few to confirm"),
    "not measured": Badge("dominated", "–", "not measured again"),
}


class Cell(NamedTuple):
    """One measure of one option: its name with the unit, the figure, and the figure against the baseline."""

    measure: str
    text: str
    versus: str


class OptionRow(NamedTuple):
    """One option in the table."""

    number: int
    name: str
    shade: str
    badge: Badge
    baseline: bool
    why: str
    blocks: int
    cells: tuple[Cell, ...]


class Lane(NamedTuple):
    """One option in the race: how far it came (and was measured `after`), in percent of the blocks, and why."""

    name: str
    badge: Badge
    percent: str
    after: str
    text: str
    why: str


class Again(NamedTuple):
    """One figure of the race beside the same on fresh blocks."""

    option: str
    measure: str
    raced: str
    fresh: str
    apart: str


def options(lock: Lock, made: Decision) -> tuple[OptionRow, ...]:
    """The rows of the table, the chosen option first."""
    colours = palette(lock, made)
    return tuple(
        OptionRow(
            place, s.option, colours[s.option], OUTCOMES[s.outcome], s.option == lock.baseline, s.why, s.blocks,
            tuple(_cell(lock, s, measure) for measure in measures(lock)),
        )
        for place, s in enumerate(ordered(lock, made), 1)
    )  # fmt: skip


def _cell(lock: Lock, standing: Standing, measure: Measure) -> Cell:
    here, there = standing.measured.get(measure.name), standing.versus_baseline.get(measure.name)
    if here is None:
        return Cell(head(measure), "–", "")
    if there is None:
        versus = ""
    elif measure.compared_by_ratio:
        versus = f"× {interval(known(measure, there))}"
    else:
        versus = f"Δ {_signed(known(measure, there, True))}"
    return Cell(head(measure), interval(known(measure, here)), versus)


def _signed(value: Estimate) -> str:
    text = interval(value)
    return f"+{text}" if value.estimate is not None and value.estimate > 0 else text


def lanes(lock: Lock, made: Decision) -> tuple[Lane, ...]:
    """The race, the options that came farthest first."""
    most = max([made.blocks, *(s.blocks for s in made.standings), 1])
    return tuple(
        Lane(
            s.option,
            OUTCOMES[s.outcome],
            f"{100 * _raced(s) / most:.4g}",
            f"{100 * s.blocks / most:.4g}",
            _how_far(lock, made, s),
            s.why,
        )
        for s in sorted(ordered(lock, made), key=lambda s: -_raced(s))
    )


def _raced(standing: Standing) -> int:
    """Blocks until it was dropped."""
    return standing.blocks if standing.dropped_at is None else standing.dropped_at + 1


def _how_far(lock: Lock, made: Decision, standing: Standing) -> str:
    blocks = count(standing.blocks, "block")
    if standing.dropped_at is None:
        return f"{blocks}, to the end"
    longer = standing.option == lock.baseline and standing.blocks > standing.dropped_at + 1
    kept = f", measured on for {blocks} as the baseline" if longer else ""
    return f"dropped {left(made, standing)}{kept}"


def again(lock: Lock, made: Decision) -> tuple[Again, ...]:
    """The figures of the race beside those of the fresh blocks, of the winner first."""
    fresh = made.confirmation.measured
    names = sorted(fresh, key=lambda name: (name != made.chosen, name))
    found = []
    for name in names:
        raced = made.standing(name).measured
        for measure in measures(lock):
            if measure.name in raced and measure.name in fresh[name] and measure.kind != "exact":
                found.append(_beside(name, measure, raced[measure.name], fresh[name][measure.name]))
    return tuple(found)


def _beside(name: str, measure: Measure, raced: Estimate, fresh: Estimate) -> Again:
    apart = ""
    if raced.estimate is not None and fresh.estimate is not None:
        gap = fresh.estimate - raced.estimate
        if abs(gap) <= 1e-9 * max(abs(fresh.estimate), abs(raced.estimate)):
            gap = 0.0
        better = "no change" if gap == 0 else "better" if (gap < 0) == (measure.better == "lower") else "worse"
        sign = "+" if gap > 0 else ""
        apart = better if gap == 0 else f"{sign}{number_text(float(f'{gap:.2g}'))} ({better})"
    return Again(name, head(measure), interval(known(measure, raced)), interval(known(measure, fresh)), apart)
