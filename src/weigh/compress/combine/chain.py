"""Several steps, one after another."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, final

from pydantic import Field, field_validator

from weigh.choice import Unfit
from weigh.compress.combine import Calibration, Combiner
from weigh.compress.combine._steps import Step, parsed, typed
from weigh.model.artefact import NAME, Artefact, artefact
from weigh.model.module import reopened
from weigh.model.source import Source


@final
class Chain(Combiner):
    """Options of prune, heads, distill and quantize, one after another, each on what the one before it wrote.

    Good for finding out whether savings add up: each cuts what the others leave, but losses of quality may be less or
    far more than their sum. Artefacts on the way are kept by their content, so that a second chain with the same
    beginning, and the choices of the steps themselves, make nothing twice. A distill step teaches what the steps before
    it made, by the original model.

    Bad as a first question: weigh each step alone, then combine those that are worth it.

    Source: Han et al., Deep compression, arXiv 1510.00149; Kuzmin et al., Pruning vs quantization, arXiv 2307.02973.
    """

    variants: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {"steps": "prune/depth+quantize/int8_weights"},
        {"steps": "prune/structured+quantize/int8_weights"},
        {"steps": "prune/depth+prune/structured+quantize/int8_weights"},
    )

    steps: str = Field(
        "prune/depth+quantize/int8_weights",
        description="choice/option of each step in turn, joined by +; settings of a step follow it, each after a "
        "colon: prune/n_m:kept=2:of=4+quantize/int8_weights",
    )

    @field_validator("steps")
    @classmethod
    def _canonical(cls, text: str) -> str:
        return typed(parsed(text))

    def reads(self) -> tuple[Path, ...]:
        return tuple(file for step in parsed(self.steps) for file in step.code)

    def convert(self, source: Source, calibration: Calibration, folder: Path) -> Path:
        now, made = source, None
        for step in parsed(self.steps):
            found = taken(step, source, now, calibration)
            if found.path != now.path:
                now, made = reopened(found.path, now), found
        return source.path if made is None else _copied(made, folder)


def taken(step: Step, original: Source, now: Source, calibration: Calibration) -> Artefact:
    """What a step makes of what there is by now.

    Raises:
        Unfit: it cannot run here, or can do nothing for that, with the reason.
    """
    if missing := step.option.needs.missing():
        raise Unfit(f"{step.text}: {'; '.join(missing)}")
    option, teacher = step.option, now
    if step.choice == "distill" and now is not original:
        option, teacher = option.model_copy(update={"student": str(now.path)}), original
    try:
        return artefact(option, teacher, calibration)
    except Unfit as error:
        raise Unfit(f"{step.text}: {error}") from None


def _copied(made: Artefact, folder: Path) -> Path:
    """The last step's files in the folder: linked where the disk can do so, since they are never written to."""
    home = made.path if made.path.is_dir() else made.path.parent
    for file in made.files:
        target = folder / file.relative_to(home)
        if file.name == NAME:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(file, target)
        except OSError:
            shutil.copyfile(file, target)
    return folder if made.path.is_dir() else folder / made.path.name
