"""Where a student comes from, and how it is taught and written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weigh.choice import Unfit, UsageError
from weigh.compress.distill import Calibration
from weigh.compress.distill._facts import write_facts
from weigh.compress.distill._student import Student
from weigh.data import cache_folder
from weigh.model.artefact import key
from weigh.model.distilling import Aim, Distilled, distil
from weigh.model.module import load_module, need_torch, save_module
from weigh.model.source import Source, open_source, reason
from weigh.model.students import blocks_of, evenly, narrower, save_as_stored, shallower
from weigh.model.training import Plan

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Class:
    """A teacher, its student, and which of the teacher's layers the student has; none where it is the user's own."""

    teacher: Any
    student: Any
    kept: tuple[int, ...]


def gathered(option: Student, source: Source) -> Class:
    """The teacher, and a student that is still to be taught.

    Raises:
        Unfit: no student can be made of the model, or the one that is named does not fit it.
    """
    need_torch(source, f"{option.name} trains a student, which")
    teacher = load_module(source)
    if option.student:
        student = _named(option, source)
        _need_smaller(teacher, student, option.student)
        return Class(teacher, student, ())
    if source.format != "huggingface":
        raise Unfit(
            f"which layers of a {source.format} net can be left out is not known: name the code that builds a smaller "
            "one of the same inputs and outputs, such as student=net.py:small"
        )
    count = len(blocks_of(teacher))
    kept = evenly(count, option.layers or max(1, round(option.share * count)))
    return Class(teacher, narrower(shallower(teacher, kept), option.mlp), kept)


def _named(option: Student, source: Source) -> Any:
    try:
        if option.is_code:
            return _built(option)
        named = open_source(Path(option.student))
        if named.kind != source.kind or named.format != "huggingface":
            raise Unfit(f"student={option.student} is another kind of model ({named.kind}) than its teacher")
        _need_same_tokens(source.path, named.path)
        return load_module(named)
    except UsageError as error:
        raise Unfit(str(error).replace("architecture=", "student=")) from None


def _built(option: Student) -> Any:
    import torch

    from weigh.model.net import made

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(option.seed)
        return made(option.student).train()


def _need_same_tokens(teacher: Path, student: Path) -> None:
    from weigh.model.huggingface import tokenizer

    words = [tokenizer(folder).get_vocab() for folder in (teacher, student)]
    if words[0] != words[1]:
        apart = sum(words[1].get(word) != number for word, number in words[0].items())
        raise Unfit(
            f"the tokenizer of student={student} numbers {apart:,} of the teacher's {len(words[0]):,} tokens otherwise "
            "or lacks them: a student learns from scores of the same tokens; give one of the same tokenizer"
        )


def _need_smaller(teacher: Any, student: Any, name: str) -> None:
    sizes = [sum(weight.numel() for weight in net.parameters()) for net in (teacher, student)]
    layers = [getattr(getattr(net, "config", None), "num_hidden_layers", 0) for net in (teacher, student)]
    if sizes[1] > sizes[0] or layers[1] > layers[0]:
        raise Unfit(
            f"student={name} has {sizes[1]:,} numbers in {layers[1] or 'its'} layers, the teacher {sizes[0]:,} in "
            f"{layers[0] or 'its'}: a student is the smaller one"
        )


def plan_of(option: Student) -> Plan:
    """How an option trains."""
    return Plan(steps=option.steps, batch=option.batch, rate=option.rate, seed=option.seed, numbers=option.numbers)


def taught(
    option: Student, source: Source, calibration: Calibration, folder: Path, aim: Callable[[Class], Aim]
) -> Path:
    """Make a student, teach it as `aim` says, and write it."""
    pupils = gathered(option, source)
    return written(pupils, source, calibration, folder, _lesson(option, pupils, calibration, aim(pupils), source))


def _lesson(option: Student, pupils: Class, calibration: Calibration, aim: Aim, source: Source) -> Distilled:
    answers = None if source.kind == "language" else whole_labels(calibration)
    if source.kind != "language" and answers is None and aim.soft:
        aim = Aim(1.0, aim.temperature, aim.hidden, aim.match, aim.pairs)
    try:
        return distil(
            pupils.teacher, pupils.student, calibration.feeds, plan_of(option), aim, answers,
            checkpoint=checkpoint(option, source, calibration),
        )  # fmt: skip
    except (RuntimeError, TypeError, ValueError) as error:
        if not option.student:
            raise
        raise Unfit(f"student={option.student} cannot learn from this teacher: {reason(error)}") from None


def checkpoint(option: Student, source: Source, calibration: Calibration) -> Path:
    """Where an unfinished run is kept, in the cache, so that a killed one goes on."""
    return cache_folder() / "training" / f"{key(option, source, calibration)[7:39]}.pt"


def whole_labels(calibration: Calibration) -> NDArray[np.int64] | None:
    """The labels of the rows where they number the columns of scores; None where they are unknown or words."""
    import numpy as np

    labels = calibration.labels
    if labels is None or labels.dtype.kind not in "iu" or (len(labels) and labels.min() < 0):
        return None
    return labels.astype(np.int64)


def written(pupils: Class, source: Source, calibration: Calibration, folder: Path, lesson: Distilled) -> Path:
    """The student as an artefact, and beside it how it was taught."""
    write_facts(folder, lesson.asked, lesson.losses, list(pupils.kept))
    if source.format == "huggingface":
        return save_as_stored(lesson.student, source, folder)
    return save_module(lesson.student, source, folder)
