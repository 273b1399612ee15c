"""What a chain does beside the sum of what its steps do alone.

Effects are logarithms of ratios to the model as it is, for size and time, and losses of log-likelihood a token (or of
right answers) for quality: where steps do not act on each other, the effects of the steps alone add up to the chain's.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weigh.choice import Bench, Table, Unfit
from weigh.compress.combine._steps import Step, parsed, typed

if TYPE_CHECKING:
    from weigh.compress.combine.chain import Chain
    from weigh.model.rows_bench import RowsBench
    from weigh.model.text_bench import TextBench

ROUNDS = 25
WINDOWS = 32
ROWS = 500
FORBIDS = "a distill step teaches what the step before it made, and has no effect alone that could be added"


@dataclass(frozen=True, slots=True)
class Effects:
    """What is known of one model.

    Attributes:
        size: megabytes.
        times: of each round, ms; rounds are the same for all models.
        losses: of each window or row, against the model as it is: nats a token, or right answers.
    """

    size: float
    times: Sequence[float]
    losses: Sequence[float]


@dataclass(frozen=True, slots=True)
class Product:
    """A chain of several steps: its specification, and those of its steps alone."""

    spec: str
    singles: tuple[str, ...]


def interactions(bench: Bench, subjects: Mapping[str, Any]) -> list[Table]:
    """A table with three rows a chain; none where no chain has several steps."""
    from weigh.model.text_bench import TextBench

    chains = {spec: steps for spec in subjects if len(steps := _steps(spec)) > 1}
    if not chains or "none" not in subjects:
        return []
    able = {spec: steps for spec, steps in chains.items() if all(step.choice != "distill" for step in steps[1:])}
    products = [Product(spec, tuple(f"chain:steps={typed([step])}" for step in steps)) for spec, steps in able.items()]
    models, why = _with_singles(bench, subjects, products)
    notes = [f"{spec} is left out: {FORBIDS}." for spec in chains if spec not in able]
    notes += [f"{spec} alone could not be measured: {reason}." for spec, reason in why.items()]
    products = [product for product in products if all(single in models for single in product.singles)]
    text = isinstance(bench, TextBench)
    known = _of_text(bench, models) if isinstance(bench, TextBench) else _of_rows(bench, models)  # type: ignore[arg-type]
    rows = [row for product in products for row in _rows(product, known, text)]
    return [_table(rows, notes, text)]


def _steps(spec: str) -> tuple[Step, ...]:
    """The steps of a chain by its specification; none for other options."""
    from weigh.compress.combine.chain import Chain

    name, _, settings = spec.partition(":")
    if name != Chain.name:
        return ()
    return parsed(settings.removeprefix("steps=") or str(Chain.model_fields["steps"].default))


def _with_singles(
    bench: Bench, subjects: Mapping[str, Any], products: Sequence[Product]
) -> tuple[dict[str, Any], dict[str, str]]:
    """The models of the chains and of their steps, made where nobody asked for them; and why some cannot be."""
    from weigh.compress.combine.chain import Chain

    by_steps = {typed(steps): subject for spec, subject in subjects.items() if (steps := _steps(spec))}
    models, why = {"none": subjects["none"]}, {}
    for product in products:
        for single in product.singles:
            text = single.removeprefix("chain:steps=")
            try:
                models[single] = by_steps[text] if text in by_steps else _made(bench, Chain(steps=text))
            except Unfit as error:
                why[single] = str(error).rstrip(".")
        models[product.spec] = subjects[product.spec]
    return models, why


def _made(bench: Bench, chain: Chain) -> Any:
    """A chain that nobody asked for, ready to be read and timed; its memory is not measured."""
    from weigh.model.artefact import artefact
    from weigh.model.module import load_module, reopened
    from weigh.model.rows_bench import RowsBench, Subject
    from weigh.model.text_bench import TextBench, Written

    if isinstance(bench, TextBench):
        found = artefact(chain, bench.source, bench.calibration)
        return Written(found, load_module(reopened(found.path, bench.source)), {})
    assert isinstance(bench, RowsBench)
    return Subject(artefact(chain, bench.model, bench.split.calibration), {})


def _of_text(bench: TextBench, models: Mapping[str, Any]) -> dict[str, Effects]:
    """Sizes, the time of a written token, and the loss on windows of the text."""
    import numpy as np

    from weigh.model import language

    windows = bench.sample(WINDOWS)
    reads = {name: np.concatenate([language.read(one.module, windows[[i]]).loglik for i in range(len(windows))])
             for name, one in models.items()}  # fmt: skip
    times: dict[str, list[float]] = {name: [] for name in models}
    mixer, names = random.Random(0), list(models)
    for turn in range(ROUNDS):
        prompt = windows[turn % len(windows)][: bench.task.prompt_tokens]
        for name in mixer.sample(names, len(names)):
            steps = language.write(models[name].module, prompt, bench.task.new_tokens).steps
            times[name].append(statistics.median(steps))
    return {
        name: Effects(one.made.megabytes, times[name], (reads["none"] - reads[name]).mean(1).tolist())
        for name, one in models.items()
    }


def _of_rows(bench: RowsBench, models: Mapping[str, Any]) -> dict[str, Effects]:
    """Sizes, the time of a run, and the right answers lost on rows."""
    import numpy as np

    draw = np.random.default_rng(0)
    some = np.sort(draw.choice(len(bench.rows), min(ROWS, len(bench.rows)), replace=False))
    right = {
        name: bench.reader.match(
            bench.reader.answers(bench.session(one).answer(bench.rows.take(some))), bench.truth[some]
        )
        for name, one in models.items()
    }
    times: dict[str, list[float]] = {name: [] for name in models}
    mixer, names = random.Random(0), list(models)
    for _ in range(ROUNDS):
        feed = bench.rows.take(draw.integers(len(bench.rows), size=bench.task.batch))
        for name in mixer.sample(names, len(names)):
            runs = bench.session(models[name]).times(feed, bench.task.warmup, bench.task.runs)
            times[name].append(statistics.median(runs))
    return {
        name: Effects(one.made.megabytes, times[name], (right["none"] - right[name]).tolist())
        for name, one in models.items()
    }


def _rows(product: Product, known: Mapping[str, Effects], text: bool) -> list[tuple[Any, ...]]:
    """Of size, time and quality: what the chain does, the sum of its steps, and the difference with its interval."""
    import numpy as np

    base, whole, parts = known["none"], known[product.spec], [known[name] for name in product.singles]
    size = math.log(whole.size / base.size)
    sizes = sum(math.log(part.size / base.size) for part in parts)
    timed = [_logs(one.times, base.times) for one in (whole, *parts)]
    lost = [list(one.losses) for one in (whole, *parts)]
    unit = "loss, nats a token" if text else "right answers lost"
    return [
        (product.spec, "log size", *_rounded(size, sizes, size - sizes), None, None),
        (product.spec, "log time", *_against(timed, np.median)),
        (product.spec, unit, *_against(lost, np.mean)),
    ]


def _logs(mine: Sequence[float], theirs: Sequence[float]) -> list[float]:
    return [math.log(one / other) for one, other in zip(mine, theirs)]


def _against(units: Sequence[Sequence[float]], middle: Callable[..., Any]) -> tuple[float, ...]:
    """The chain, the sum of its steps, their difference and its 95 % interval by bootstrap over rounds or windows."""
    import numpy as np

    table = np.array(units)  # (models, units), the chain first
    draws = np.random.default_rng(0).integers(table.shape[1], size=(2000, table.shape[1]))
    whole, *parts = middle(table, axis=1)
    first, *others = middle(table[:, draws], axis=2)
    low, high = np.quantile(first - sum(others), [0.025, 0.975])
    return _rounded(whole, sum(parts), whole - sum(parts), low, high)


def _rounded(*values: float) -> tuple[float, ...]:
    return tuple(round(float(value), 4) for value in values)


def _table(rows: Sequence[tuple[Any, ...]], notes: Sequence[str], text: bool) -> Table:
    told = "the loss is of log-likelihood" if text else "right answers lost are a share of rows"
    return Table(
        title="Interactions",
        columns=("chain", "effect on", "together", "sum of steps alone", "interaction", "low", "high"),
        rows=tuple(rows),
        note="Logarithms of ratios to the model as it is, so that effects which do not act on each other add up; "
        f"{told}. Interaction: together minus the sum, with a 95 % interval by bootstrap over {ROUNDS} rounds of "
        "timing, or over what was judged; above 0 steps get in each other's way. " + " ".join(notes),
    )
