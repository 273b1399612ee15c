"""From a decision to the model that it chose: its files, a card that quotes the decision, MLflow's registry."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weigh import catalog
from weigh.choice import UsageError
from weigh.data.cache import replacing
from weigh.decision import Decision, Lock
from weigh.model.choice import ModelChoice
from weigh.model.task import Converter, ModelTask
from weigh.model.write import copied, made_of

if TYPE_CHECKING:
    from weigh.model.artefact import Artefact

ALIAS = "challenger"


@dataclass(frozen=True, slots=True)
class Applied:
    """What was written.

    Attributes:
        model: the file or folder.
        card: the model card.
        registered: ``models:/name/version``; empty where nothing was registered.
    """

    model: Path
    card: Path
    registered: str = ""


def apply(
    lock: Lock, made: Decision, to: Path | str, *, register: str = "", record: str = "", overwrite: bool = False
) -> Applied:
    """Write the model that a decision chose, with a card; register it in MLflow if asked.

    Args:
        lock: what was asked.
        made: what was decided; it must have chosen.
        to: the file to write (.onnx, .pt2), or the folder of a Hugging Face model.
        register: a name in MLflow's registry (`MLFLOW_TRACKING_URI`, or MLflow's default); the version gets the alias
            ``challenger``, the decision as tags, its figures as metrics, and the record and card as artefacts.
        record: the path of the decision's record, for the card.
        overwrite: replace other files of those names.

    Raises:
        UsageError: nothing was chosen, the choice makes no model, the task's files are no longer those that were
            decided on, or a file exists.
    """
    task, option = _chosen(lock, made)
    artefact = made_of(task, option)
    path = copied(artefact, task, Path(to), overwrite)
    card = path / "README.md" if path.is_dir() else path.with_name(f"{path.stem}.md")
    with replacing(card) as temporary:
        temporary.write_text(model_card(lock, made, artefact, path, record), encoding="utf-8")
    return Applied(path, card, _registered(lock, made, path, card, register, record) if register else "")


def _chosen(lock: Lock, made: Decision) -> tuple[ModelTask, Converter]:
    choice = catalog.choice(lock.choice)
    if not isinstance(choice, ModelChoice):
        raise UsageError(f"{lock.choice} chooses no model file, so that there is nothing to write")
    if made.chosen is None:
        raise UsageError(f"nothing was chosen ({made.answer}); there is no model to write")
    task = choice.task.model_validate(lock.task)
    if task.fingerprint() != lock.task_fingerprint:
        raise UsageError("the model or its data are no longer those that were decided on: type `weigh decide` again")
    option = catalog.unlock_option(choice, next(one for one in lock.options if one.spec == made.chosen))
    assert isinstance(task, ModelTask) and isinstance(option, Converter)
    return task, option


def model_card(lock: Lock, made: Decision, artefact: Artefact, path: Path, record: str = "") -> str:
    """A Hugging Face model card: what the model is, why it was chosen, what was rejected, and what it rests on."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from weigh import show
    from weigh.commands import folded
    from weigh.record import cell, code, command, words

    environment = Environment(loader=PackageLoader("weigh"), undefined=StrictUndefined, autoescape=False)
    environment.filters |= {"words": words, "code": code, "cell": cell}
    chosen = made.standing(str(made.chosen))
    measured = {lock.measure(name): value for name, value in chosen.measured.items()}
    return environment.get_template("model_card.md.j2").render(
        lock=lock,
        made=made,
        record=record,
        command=folded(command(lock), 100),
        artefact=artefact,
        path=path,
        task=lock.task,
        others=[one for one in show.ordered(lock, made) if one is not chosen],
        checks=[show.check(lock, one) for one in chosen.checks],
        against={name: show.versus(lock.measure(name), value) for name, value in chosen.versus_baseline.items()},
        levels={show.head(measure): show.level(measure, value) for measure, value in measured.items()},
        tags=json.dumps(["weigh", lock.choice, str(made.chosen)]),
    )


def _registered(lock: Lock, made: Decision, path: Path, card: Path, name: str, record: str) -> str:
    """The version in MLflow's registry, as ``models:/name/version``."""
    try:
        import mlflow
    except ImportError:
        raise UsageError("mlflow is needed to register a model: pip install 'weigh[mlflow]'") from None
    tags = {"weigh.lock": made.lock, "weigh.chosen": str(made.chosen), "weigh.answer": made.answer}
    figures = {measure: value.estimate for measure, value in made.standing(str(made.chosen)).measured.items()}
    with mlflow.start_run(run_name=f"weigh {lock.choice}", tags=tags) as run:
        mlflow.log_metrics({measure: value for measure, value in figures.items() if value is not None})
        for file in (card, *([Path(record)] if record and Path(record).is_file() else [])):
            mlflow.log_artifact(str(file), "decision")
        version = mlflow.register_model(_logged(path), name, tags=tags | {"weigh.run": run.info.run_id})
    mlflow.MlflowClient().set_registered_model_alias(name, ALIAS, version.version)
    return f"models:/{name}/{version.version}"


def _logged(path: Path) -> str:
    """The model as an artefact of the current run, in MLflow's own flavour where it has one that unpickles nothing."""
    import mlflow

    if path.suffix == ".onnx":
        import onnx

        needed = ["onnxruntime"]
        one = mlflow.onnx.log_model(onnx.load(path), name="model", pip_requirements=needed, save_as_external_data=False)
        return str(one.model_uri)
    if path.is_dir():
        from weigh.model.huggingface import read_json

        names: list[Any] = read_json(path / "config.json").get("architectures") or [""]
        task = "text-generation" if str(names[0]).endswith("ForCausalLM") else "feature-extraction"
        needed = ["transformers", "torch"]
        logged = mlflow.transformers.log_model(str(path), name="model", task=task, pip_requirements=needed)
        return str(logged.model_uri)
    folder = path.with_name(f".{path.name}.mlflow")
    try:
        folder.mkdir()
        shutil.copyfile(path, folder / path.name)
        mlflow.log_artifacts(str(folder), "model")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    run = mlflow.active_run()
    assert run is not None
    return f"runs:/{run.info.run_id}/model"
