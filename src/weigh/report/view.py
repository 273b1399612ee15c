"""A decision as the page shows it: everything already in words and pictures, in the order in which it is read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from weigh.choice import Exhibit, Measure, Table, UsageError
from weigh.commands import folded, folder, typed
from weigh.decision import Constraint, Decision, Estimate, Lock, Standing
from weigh.evidence import Evidence
from weigh.ledger import Ledger
from weigh.record import command, number
from weigh.report.canvas import Picture, drawing
from weigh.report.curves import picture
from weigh.report.facts import facts, spent
from weigh.report.forest import Row, forest
from weigh.report.front import front
from weigh.report.history import axis, bound, head, history, palette
from weigh.report.margins import Margin, margins
from weigh.report.rows import (
    CONFIRMATIONS,
    OUTCOMES,
    VERDICTS,
    Again,
    Badge,
    Lane,
    OptionRow,
    again,
    lanes,
    options,
)
from weigh.show import always, approximations, bounded, interval, known, measures, ordered


@dataclass(frozen=True, slots=True)
class View:
    """What the templates show of one decision; `key` starts the ids of its parts."""

    key: str
    id: str
    lock: Lock
    made: Decision
    verdict: Badge
    confirmation: Badge
    columns: tuple[str, ...]
    options: tuple[OptionRow, ...]
    lanes: tuple[Lane, ...]
    forests: tuple[Picture, ...]
    others: tuple[Picture, ...]
    race: tuple[Picture, ...]
    front: Picture | None
    margins: tuple[Margin, ...]
    again: tuple[Again, ...]
    methods: tuple[str, ...]
    constraints: tuple[str, ...]
    always: tuple[Table, ...]
    exhibits: tuple[Picture | Table, ...]
    facts: tuple[tuple[str, str], ...]
    spent: Table
    command: str
    folder: str
    verify: str
    settings: tuple[tuple[str, str], ...]

    @property
    def serial(self) -> bool:
        """Whether the objective is a series over time, in which what is behind may come back."""
        return self.lock.measure(self.lock.objective).serial


def view(ledger: Ledger, digest: str, key: str = "d") -> View:
    """Everything that a page says of the decision under a lock.

    Raises:
        UsageError: nothing was decided under that lock yet.
        LedgerError: there is no such lock, or its evidence is not all there, or a row of it was edited.
    """
    lock = ledger.lock(digest)
    whole = lock.digest()
    made = ledger.decision(whole)
    if made is None:
        raise UsageError(
            f"nothing is decided under lock {whole[7:19]} yet, so there is nothing to report; "
            f"finish the run first: {command(lock, ledger.where)}"
        )
    rows = ledger.judged(made)
    with drawing():
        return _view(lock, made, rows, ledger.exhibits(whole), key, ledger.where, ledger.record(whole))


def shown(
    key: str, exhibits: Iterable[Exhibit], colours: Mapping[str, str] | None = None
) -> tuple[Picture | Table, ...]:
    """Exhibits, curves as pictures; to be called while `drawing`. `colours` are those of options."""
    return tuple(
        exhibit if isinstance(exhibit, Table) else picture(f"{key}-x{index}", exhibit, colours)
        for index, exhibit in enumerate(exhibits)
    )


def _view(
    lock: Lock,
    made: Decision,
    rows: Sequence[Evidence],
    exhibits: Sequence[Exhibit],
    key: str,
    ledger: str,
    record: str,
) -> View:
    matter, others = _panels(lock, made, key)
    return View(
        key=key,
        id=number(lock),
        lock=lock,
        made=made,
        verdict=VERDICTS[made.verdict],
        confirmation=CONFIRMATIONS[made.confirmation.status],
        columns=tuple(head(measure) for measure in measures(lock)),
        options=options(lock, made),
        lanes=lanes(lock, made),
        forests=matter,
        others=others,
        race=tuple(history(f"{key}-race", lock, made, rows)),
        front=front(f"{key}-front", lock, made),
        margins=margins(lock, made, rows),
        again=again(lock, made),
        methods=tuple(approximations(made, every=True)),
        constraints=tuple(bounded(lock, text) for text in made.constraints),
        always=tuple(always(exhibits)),
        exhibits=shown(key, [one for one in exhibits if one not in always(exhibits)], palette(lock, made)),
        facts=facts(lock, made, rows),
        spent=spent(lock, made, rows),
        command=folded(command(lock, ledger, str(Path(record).parent) if record else None), 100),
        folder=folder(lock),
        verify=typed("verify", record, ledger=ledger) if record else "",
        settings=tuple((o.spec, ", ".join(f"{k}={v}" for k, v in o.settings.items())) for o in lock.options),
    )


def _panels(lock: Lock, made: Decision, key: str) -> tuple[tuple[Picture, ...], tuple[Picture, ...]]:
    """Pictures of what decides (a panel a constraint, the objective, the cost), and of the other measures."""
    standings = [standing for standing in ordered(lock, made) if standing.measured]
    if not standings:
        return (), ()
    panels = [
        _constraint_panel(f"{key}-c{i}", lock, constraint, standings) for i, constraint in enumerate(lock.constraints)
    ]
    absolute = {constraint.measure for constraint in lock.constraints if not constraint.relative}
    decide = [name for name in dict.fromkeys((lock.objective, lock.cost)) if name not in absolute]
    plain = [_measure_panel(f"{key}-m-{name}", lock.measure(name), standings) for name in decide]
    shown = {lock.objective, lock.cost, *absolute}
    rest = [m for m in measures(lock) if m.name not in shown]
    more = [_measure_panel(f"{key}-m-{m.name}", m, standings) for m in rest]
    matter = [*plain[:1], *panels, *plain[1:]]
    fill = len(matter) % 2  # a lone panel has room for one more beside it
    return (*matter, *more[:fill]), tuple(more[fill:])


def _constraint_panel(key: str, lock: Lock, constraint: Constraint, standings: Sequence[Standing]) -> Picture:
    rows, measure = [], lock.measure(constraint.measure)
    for standing in standings:
        check = next((check for check in standing.checks if check.constraint == str(constraint)), None)
        if check is not None:
            rows.append(_row(standing, known(measure, check.interval, compared=bool(constraint.relative))))
    title = f"{measure.name} against the baseline" if constraint.relative else measure.name
    text, at = bounded(lock, str(constraint)), bound(lock, constraint)
    return forest(key, title, rows, axis(lock, constraint), at, text, share=measure.kind == "mean")


def _measure_panel(key: str, measure: Measure, standings: Sequence[Standing]) -> Picture:
    rows = [_row(s, known(measure, s.measured[measure.name])) for s in standings if measure.name in s.measured]
    about = f"{head(measure)} ({measure.better} is better)"
    return forest(key, measure.name, rows, about, share=measure.kind == "mean")


def _row(standing: Standing, value: Estimate) -> Row:
    text, strong = interval(value), standing.outcome in ("chosen", "leading")
    return Row(standing.option, OUTCOMES[standing.outcome].kind, value.estimate, value.low, value.high, text, strong)
