"""From a decision to the model that it chose: its files, a card that quotes the decision, MLflow's registry."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from weigh import catalog
from weigh.apply._chosen import Chosen
from weigh.apply._write import as_it_is, in_form, need_named
from weigh.choice import Exhibit, Table, UsageError
from weigh.decision import Decision, Lock
from weigh.model import forms
from weigh.model.choice import ModelChoice
from weigh.model.exhibits import FILES
from weigh.model.registry import located
from weigh.model.source import format_of
from weigh.model.task import Converter, ModelTask
from weigh.model.write import made_of

ALIAS = "challenger"


@dataclass(frozen=True, slots=True)
class Applied:
    """What was written.

    Attributes:
        model: the file (in a folder: there), or the folder of a Hugging Face model.
        card: the model card.
        certificate: of the step from what was measured to another form; None where the files are those measured.
        registered: ``models:/name/version``; empty where nothing was registered.
    """

    model: Path
    card: Path
    certificate: Path | None = None
    registered: str = ""


def apply(
    lock: Lock,
    made: Decision,
    to: Path | str,
    *,
    form: str = "",
    register: str = "",
    record: str = "",
    overwrite: bool = False,
    exhibits: Sequence[Exhibit] = (),
) -> Applied:
    """Write the model that a decision chose, with a card; register it in MLflow if asked.

    Args:
        lock: what was asked.
        made: what was decided; it must have chosen.
        to: the file to write (.onnx, .pt2, .gguf, .safetensors), or a folder: one that exists, a name without a
            suffix, or one that ends in ``/``. A model that is a file goes into it as ``model.*``. It appears whole.
        form: ``safetensors``, ``onnx`` or ``gguf``; as it was measured when empty. A parity certificate of what another
            form changes is written beside the model, and nothing is written where parity breaks.
        register: a name in MLflow's registry (`MLFLOW_TRACKING_URI`, or MLflow's default); the version gets the alias
            ``challenger``, the decision as tags, its figures as metrics, and the record and card as artefacts.
        record: the path of the decision's record, for the card.
        overwrite: replace other files of those names, or a folder that weigh wrote.
        exhibits: those of the decision, of which one names the digest of what was measured: another is not written.

    Raises:
        UsageError: nothing was chosen, the choice makes no model, the task's files are no longer those that were
            decided on, the form cannot hold the model, parity breaks, or a file exists.
    """
    if form and form not in forms.FORMS:
        raise UsageError(f"there is no form '{form}': type --as {', --as '.join(forms.FORMS)}, or leave it out")
    if register:
        from weigh.model.registry import need_mlflow

        need_mlflow(register)
    place, in_folder = Path(to), is_folder(to)
    chosen = _chosen(lock, made, record, lambda task, option: _need_early(task, option, form, place, in_folder))
    _need_measured(chosen, exhibits)
    if form in ("", forms.OWN.get(chosen.result.format)):
        applied = Applied(*as_it_is(chosen, place, overwrite, in_folder))
    else:
        forms.need_form(chosen.result, form, chosen.name)
        applied = Applied(*in_form(chosen, form, place, overwrite, in_folder))
    return replace(applied, registered=_registered(chosen, applied, register)) if register else applied


def is_folder(to: Path | str) -> bool:
    """Whether a place to write to names a folder.

    >>> is_folder("smaller"), is_folder("smaller.v2/"), is_folder("smaller.onnx")
    (True, True, False)
    """
    return str(to).endswith(os.sep) or Path(to).is_dir() or not Path(to).suffix


def _need_early(task: ModelTask, option: Converter, form: str, place: Path, in_folder: bool) -> None:
    """Raises `UsageError` for what the original's format rules out, before a library that opens it is imported."""
    if form:
        path = located(task.model)
        forms.need_form_early(path, form, option.spec, option.packs)
        if format_of(path) == "huggingface" and form != "safetensors":
            need_named(form, "huggingface", place, in_folder)


def _need_measured(chosen: Chosen, exhibits: Sequence[Exhibit]) -> None:
    """Raises `UsageError` where what the option makes now is not what was measured."""
    tables = [one for one in exhibits if isinstance(one, Table) and one.title == FILES]
    measured = {str(row[0]): str(row[1]) for table in tables for row in table.rows}.get(chosen.name)
    if measured not in (None, chosen.artefact.sha256):
        raise UsageError(
            f"{chosen.name} was measured with SHA-256 {measured}, and what it makes now has {chosen.artefact.sha256}: "
            "another version of a library, or a file of the cache that was changed; type `weigh decide` again"
        )


def _chosen(lock: Lock, made: Decision, record: str, check: Callable[[ModelTask, Converter], None]) -> Chosen:
    choice = catalog.choice(lock.choice)
    if lock.choice.startswith("serve/"):
        raise UsageError(
            f"{lock.choice} chooses how a model runs and makes no other one: set {made.chosen or 'what it chose'} "
            "where it serves; weigh apply writes what the compress choices chose"
        )
    if not isinstance(choice, ModelChoice):
        raise UsageError(f"{lock.choice} chooses no model file, so that there is nothing to write")
    if made.chosen is None:
        raise UsageError(f"nothing was chosen ({made.answer}); there is no model to write")
    task = choice.task.model_validate(lock.task)
    if task.fingerprint() != lock.task_fingerprint:
        raise UsageError("the model or its data are no longer those that were decided on: type `weigh decide` again")
    option = catalog.unlock_option(choice, next(one for one in lock.options if one.spec == made.chosen))
    assert isinstance(task, ModelTask)
    if not isinstance(option, Converter):
        raise UsageError(
            f"{lock.choice} chooses how a model is run, not its files: {made.chosen} runs {task.model} as it is, so "
            "that there is nothing to write"
        )
    check(task, option)
    from weigh.model.module import reopened

    artefact, source = made_of(task, option)
    result = source if artefact.path == source.path else reopened(artefact.path, source)
    return Chosen(lock, made, task, artefact, replace(result, inputs=result.inputs or source.inputs), record)


def _registered(chosen: Chosen, applied: Applied, name: str) -> str:
    from weigh.model.registry import registered

    tags = {"weigh.lock": chosen.made.lock, "weigh.chosen": chosen.name, "weigh.answer": chosen.made.answer}
    found = chosen.made.standing(chosen.name).measured.items()
    figures = {measure: value.estimate for measure, value in found if value.estimate is not None}
    files = [applied.card, *([applied.certificate] if applied.certificate else [])]
    files += [Path(chosen.record)] if chosen.record and Path(chosen.record).is_file() else []
    return registered(applied.model, name, ALIAS, f"weigh {chosen.lock.choice}", tags, figures, files)
