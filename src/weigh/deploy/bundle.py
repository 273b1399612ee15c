"""Everything that a platform takes, written into one folder."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weigh.choice import UsageError, unknown
from weigh.deploy.plan import Arm, Plan, label
from weigh.deploy.subject import Subject

MARK = ".weigh-deploy"
"""In every folder that was written here, so that it may be replaced."""
MANIFESTS = ("kubernetes", "kserve", "rayservice")
UNPUSHED = "# write it again with --image REGISTRY/NAME and push that, unless the cluster sees this machine's images"
PLATFORMS = (*MANIFESTS, "torchserve", "tfserving", "tfx")
OF_OPTIONS = {
    "kubernetes": "kubernetes",
    "ray_serve": "rayservice",
    "torchserve": "torchserve",
    "tf_serving": "tfserving",
}
"""What is written for the options of serve/platform."""


@dataclass(frozen=True, slots=True)
class Written:
    """What was written.

    Attributes:
        files: in the order in which they are applied, or used.
        unchecked: kinds for which there was no schema.
        next: what to type.
    """

    folder: Path
    files: tuple[Path, ...]
    unchecked: tuple[str, ...]
    next: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be written.

    Attributes:
        platform: one of `PLATFORMS` but tfx.
        plan: fields of `Plan` but the arms; `image` is the repository that images are pushed to.
        crds: the folder of `weigh.deploy.validate`.
    """

    platform: str
    champion: Subject
    challenger: Subject | None
    plan: Mapping[str, Any]
    crds: Path | None

    def roles(self) -> dict[str, Subject]:
        """The models by role."""
        return {"champion": self.champion} | ({"challenger": self.challenger} if self.challenger else {})


@contextmanager
def replaced(to: Path) -> Iterator[Path]:
    """An empty folder that takes the place of `to` when the block ends well.

    Raises:
        UsageError: `to` exists and was not written by `weigh deploy`.
    """
    if to.exists() and not (to.is_dir() and ((to / MARK).is_file() or not any(to.iterdir()))):
        raise UsageError(f"{to} exists and was not written by `weigh deploy`: name another folder with --to")
    to.parent.mkdir(parents=True, exist_ok=True)
    temporary = to.parent / f".{to.name}.{uuid.uuid4().hex}.tmp"
    temporary.mkdir()
    try:
        yield temporary
        (temporary / MARK).touch()
        old = to.parent / f".{to.name}.{uuid.uuid4().hex}.old"
        if to.exists():
            to.rename(old)
        temporary.rename(to)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write(asked: Asked, to: Path) -> Written:
    """Write what a platform takes into a folder, which appears whole.

    Raises:
        UsageError: there is no such platform, or a manifest does not fit its schema.
        Unfit: the platform cannot serve the model.
    """
    writers: dict[str, Callable[[Asked, Path], Written]] = {
        **dict.fromkeys(MANIFESTS, _manifests), "torchserve": _torchserve, "tfserving": _tfserving,
    }  # fmt: skip
    if asked.platform not in writers:
        raise UsageError(unknown("platform", asked.platform, PLATFORMS))
    with replaced(to) as folder:
        made = writers[asked.platform](asked, folder)
    there = to.absolute()
    moved = tuple(there / file.relative_to(folder) for file in made.files)
    return Written(there, moved, made.unchecked, tuple(line.replace(str(folder), str(there)) for line in made.next))


def carried(subject: Subject) -> Path:
    """The file or folder that goes into an image: weights that need code to be a net go as ONNX."""
    if subject.source.format != "module":
        return subject.source.path
    from weigh.serve.platform._onnx import as_onnx

    return as_onnx(subject.source, subject.rows)


def _manifests(asked: Asked, folder: Path) -> Written:
    from weigh.deploy import image, kserve, kubernetes, rayservice
    from weigh.deploy.validate import validated

    fields, together = dict(asked.plan), asked.platform == "rayservice"
    repository = str(fields.pop("image", "")) or label(str(fields["name"]))
    paths = {role: carried(one) for role, one in asked.roles().items()}
    names = {role: f"{role}/{path.name}" for role, path in paths.items()}
    versions = {role: one.version for role, one in asked.roles().items()}
    tags = dict.fromkeys(versions, "-".join(versions.values())) if together else versions
    arms = {
        role: Arm(image=f"{repository}:{tags[role]}", version=versions[role], file=name) for role, name in names.items()
    }
    render = {"kubernetes": kubernetes, "kserve": kserve, "rayservice": rayservice}[asked.platform].manifests
    made = render(Plan.model_validate(fields | arms))
    unchecked = validated(made, asked.crds)
    files = _dumped(made, folder / "manifests")
    groups = [tuple(names)] if together else [(role,) for role in names]
    builds = []
    for roles in groups:
        home = folder / ("image" if together else f"image-{roles[0]}")
        image.write(home, {names[role]: paths[role] for role in roles}, ray=together)
        builds.append(f"docker build -t {arms[roles[0]].image} {home}")
    pushes = [f"docker push {arms[roles[0]].image}" for roles in groups] if asked.plan.get("image") else [UNPUSHED]
    applies = [f"kubectl apply -f {file}" for file in files]
    return Written(folder, tuple(files), tuple(unchecked), (*builds, *pushes, *applies))


def _dumped(manifests: list[dict[str, Any]], folder: Path) -> list[Path]:
    """One file a manifest, in the order in which they are applied."""
    import yaml

    folder.mkdir(parents=True)
    files = []
    for place, one in enumerate(manifests, 1):
        name = f"{place:02d}-{str(one['kind']).lower()}-{one['metadata']['name']}.yaml"
        (folder / name).write_text(yaml.safe_dump(one, sort_keys=False), encoding="utf-8")
        files.append(folder / name)
    return files


def _torchserve(asked: Asked, folder: Path) -> Written:
    from weigh.serve.platform import _v2
    from weigh.serve.platform._environment import python_of
    from weigh.serve.platform.torchserve import archive, written

    store, python, name = folder / "model_store", python_of("torchserve"), str(asked.plan["name"])
    store.mkdir()
    made = [
        archive(one.source, one.rows, name, f"{place}.0", store, python)
        for place, one in enumerate(asked.roles().values(), 1)
    ]
    config = {
        "inference_address": "http://127.0.0.1:8080", "management_address": "http://127.0.0.1:8081",
        "metrics_address": "http://127.0.0.1:8082", "load_models": f"{name}={made[0].name}",
        "default_workers_per_model": asked.plan.get("replicas", 1),
    }  # fmt: skip
    files = [*made, written(folder, config)]
    first = {key: values[:1] for key, values in asked.champion.rows.items()}
    (folder / "request.json").write_bytes(_v2.body(first))
    start = (
        f"{python} -m ts.model_server --start --foreground --ncs --enable-model-api --disable-token-auth --model-store "
        f"{store} --ts-config {files[-1]}"
    )
    ask = f"curl --json @{folder / 'request.json'} http://127.0.0.1:8080/predictions/{name}"
    more = [
        f"curl -X POST 'http://127.0.0.1:8081/models?url={file.name}&model_name={name}&initial_workers=1'"
        for file in made[1:]
    ]
    return Written(folder, tuple(files), (), (start, ask, *more))


def _tfserving(asked: Asked, folder: Path) -> Written:
    from weigh.serve.platform._onnx import as_onnx, output_of
    from weigh.serve.platform._savedmodel import write_savedmodel
    from weigh.serve.platform.tf_serving import models_config

    name, files = str(asked.plan["name"]), []
    for place, one in enumerate(asked.roles().values(), 1):
        graph = as_onnx(one.source, one.rows)
        target = folder / name / str(place)
        gap = write_savedmodel(graph, target, name, one.rows, output_of(one.source, graph))
        (folder / f"parity-{place}.json").write_text(json.dumps({"greatest relative difference": gap}) + "\n")
        files.append(target)
    labels = {"stable": 1} | ({"canary": 2} if asked.challenger else {})
    config = folder / "models.config"
    config.write_text(models_config(name, Path("/models") / name, labels), encoding="utf-8")
    start = (
        f"docker run -p 8501:8501 -v {folder}:/models tensorflow/serving --model_config_file=/models/models.config "
        "--allow_version_labels_for_unavailable_models"
    )
    return Written(folder, (*files, config), (), (start,))
