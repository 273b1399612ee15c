"""Chains as they are typed: ``prune/wanda:share=0.5+quantize/int8_weights``."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from weigh.choice import UsageError, as_typed, unknown
from weigh.model.task import Converter

RANKS = {"heads": 0, "prune": 0, "distill": 1, "quantize": 2}
"""Which choices give steps, and in which order these can follow one another."""
WHY = {
    "distill": "what was distilled was taught as it is",
    "quantize": "quantized weights are no plain numbers that could be cut, pooled or trained",
}
HINT = "type a chain as prune/depth+quantize/int8_weights; settings of a step follow it, each after a colon"


@dataclass(frozen=True, slots=True)
class Step:
    """One step: the name of its choice within compress, and the option."""

    choice: str
    option: Converter

    @property
    def text(self) -> str:
        """As it is typed, with what differs from the defaults."""
        changed = self.option.model_dump(mode="json", exclude_defaults=True)
        return ":".join([f"{self.choice}/{self.option.name}", *(f"{k}={as_typed(v)}" for k, v in changed.items())])

    @property
    def code(self) -> tuple[Path, ...]:
        """The files that hold the option's code, and those that its settings name."""
        home = Path(inspect.getfile(type(self.option))).parent
        return (*sorted(home.glob("*.py")), *self.option.reads())


def parsed(text: str) -> tuple[Step, ...]:
    """The steps of a chain.

    Raises:
        UsageError: a step is unknown, stands twice, or cannot follow the one before it.
    """
    if not text.strip():
        raise UsageError(f"no step is named: {HINT}")
    steps = tuple(_step(part.strip()) for part in re.split(r"\+(?=\s*[a-z]+/|\s*$)", text))
    _need_once(steps)
    for before, after in pairwise(steps):
        _need_order(before, after)
    return steps


def typed(steps: Sequence[Step]) -> str:
    """A chain as it is typed."""
    return "+".join(step.text for step in steps)


def _step(text: str) -> Step:
    from weigh import catalog

    name, slash, rest = text.partition("/")
    if not slash or not rest:
        raise UsageError(f"'{text}' is no step: one has a choice and one of its options: {HINT}")
    if name not in RANKS:
        raise UsageError(unknown("step", name, sorted(RANKS), f"(of '{text}') in a chain"))
    option, *settings = re.split(r":(?=[a-z][a-z0-9_]*=)", rest)
    made = catalog.choice(f"compress/{name}")
    found = catalog.find(made, f"{option}:{','.join(settings)}" if settings else option)
    assert isinstance(found, Converter)
    if found.name == made.baseline:
        raise UsageError(f"the step '{text}' changes nothing: leave it out")
    return Step(name, found)


def _need_once(steps: Sequence[Step]) -> None:
    for place, step in enumerate(steps):
        for other in steps[:place]:
            same = step.choice == other.choice
            if same and step.option.name == other.option.name:
                raise UsageError(f"the chain has {step.choice}/{step.option.name} twice: leave one out")
            if same and step.choice != "prune":
                raise UsageError(f"{other.text} and {step.text} are both of compress/{step.choice}: leave one out")


def _need_order(before: Step, after: Step) -> None:
    if RANKS[after.choice] < RANKS[before.choice]:
        raise UsageError(
            f"{after.choice} cannot follow {before.choice} ({WHY[before.choice]}): type it before, as "
            f"{after.text}+{before.text}"
        )
    if after.choice == "distill" and getattr(before.option, "zeros", False):
        raise UsageError(
            f"{after.text} trains all weights, so that the zeros of {before.text} would not last: distill after "
            "prune/structured or prune/depth, which cut weights off"
        )
    if after.choice == "distill" and after.option.model_dump().get("student"):
        raise UsageError(f"the student of {after.text} is what the step before it wrote: leave out student=")
