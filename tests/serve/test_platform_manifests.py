"""Manifests: what is rendered is what a cluster takes, a typo anywhere is found, and what is promised is in them."""

from __future__ import annotations

import copy
import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from weigh.choice import UsageError
from weigh.cli import main
from weigh.deploy import kserve, kubernetes, rayservice
from weigh.deploy.bundle import MARK, Asked, write
from weigh.deploy.image import closure, requirements
from weigh.deploy.plan import Arm, Plan, label, value
from weigh.deploy.pod import USER, grace
from weigh.deploy.subject import of_path
from weigh.deploy.validate import CRDS, validated
from weigh.serve.platform._planted import write_toy

pytest.importorskip("kubernetes_validate", reason="needs kubernetes-validate: pip install 'weigh[kubernetes]'")

BESIDE = Path(__file__).resolve().parents[3] / "shared" / "crds"
FOLDER = Path(os.environ.get(CRDS, BESIDE))
needs_crds = pytest.mark.skipif(
    not FOLDER.is_dir(), reason=f"needs CustomResourceDefinitions of KServe, KubeRay and the Gateway API: {CRDS}=FOLDER"
)
PLAN = Plan(
    name="Flights_late", champion=Arm(image="registry.example.org/flights:1", version="1f0c"),
    challenger=Arm(image="registry.example.org/flights:2", version="2a9b", file="better.onnx"), share=5,
    gateway="public", host="flights.example.org", annotations={"weigh/decision": "4e1f"},
)  # fmt: skip
KINDS = {"kubernetes": kubernetes, "kserve": kserve, "rayservice": rayservice}
POD = ("spec", "template", "spec")
FREE = {"labels", "annotations", "matchLabels", "requests", "limits", "rayStartParams", "selector"}
"""Fields whose own fields are named by their writer: any name will do."""


def of_kind(kind: str, role: str = "champion") -> dict[str, Any]:
    found = [one for one in kubernetes.manifests(PLAN) if one["kind"] == kind]
    return next((one for one in found if role in one["metadata"]["name"]), found[0])


def test_a_share_takes_a_gateway() -> None:
    with pytest.raises(UsageError, match="--gateway NAME"):
        kubernetes.manifests(PLAN.model_copy(update={"gateway": ""}))
    assert kubernetes.manifests(PLAN.model_copy(update={"gateway": "", "share": 0}))


@needs_crds
@pytest.mark.parametrize("platform", KINDS)
def test_what_is_rendered_is_what_a_cluster_takes(platform: str) -> None:
    assert validated(KINDS[platform].manifests(PLAN), FOLDER) == []
    alone = Plan(name="a", champion=PLAN.champion)
    assert validated(KINDS[platform].manifests(alone), FOLDER) == []


def test_core_kinds_are_checked_without_a_folder_and_others_are_said_not_to_be(tmp_path: Path) -> None:
    assert validated(kubernetes.manifests(PLAN), None) == ["HTTPRoute (gateway.networking.k8s.io/v1)"]
    assert validated(kserve.manifests(PLAN), tmp_path) == ["InferenceService (serving.kserve.io/v1beta1)"] * 2
    with pytest.raises(UsageError, match="there is no such folder"):
        validated(kserve.manifests(PLAN), tmp_path / "none")


def fields(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where each field stands whose name is Kubernetes' own."""
    if isinstance(node, dict):
        for name, inner in node.items():
            if not path or path[-1] not in FREE:
                yield (*path, name)
            yield from fields(inner, (*path, name))
    elif isinstance(node, list):
        for place, inner in enumerate(node):
            yield from fields(inner, (*path, place))


def at(node: Any, path: tuple[Any, ...]) -> Any:
    for part in path:
        node = node[part]
    return node


def all_fields() -> list[tuple[str, int, tuple[Any, ...]]]:
    found = []
    for platform, module in KINDS.items():
        for place, one in enumerate(module.manifests(PLAN)):
            if place < 4 or one["kind"] == "HTTPRoute":  # the challenger's are those of the champion
                found += [(platform, place, path) for path in fields(one)]
    return found


@needs_crds
def test_a_typo_in_a_field_is_found_wherever_it_is() -> None:
    """A letter more in the name of a field, one at a time, in places drawn from all of them."""
    every = all_fields()
    assert len(every) > 300
    for platform, place, path in random.Random(0).sample(every, 60):
        wrong = copy.deepcopy(KINDS[platform].manifests(PLAN)[place])
        holder = at(wrong, path[:-1])
        holder[f"{path[-1]}x"] = holder.pop(path[-1])
        with pytest.raises(UsageError):
            validated([wrong], FOLDER)


@needs_crds
@pytest.mark.parametrize(
    ("platform", "path", "bad", "says"),
    [
        (
            "kubernetes",
            ("spec", "template", "spec", "containers", 0, "ports", 0, "containerPort"),
            "http",
            "containerPort",
        ),
        ("kubernetes", ("spec", "strategy", "type"), 5, "strategy.type"),
        ("kserve", ("spec", "predictor", "canaryTrafficPercent"), "5 %", "canaryTrafficPercent"),
        ("kserve", ("spec", "predictor", "minReplicas"), "two", "minReplicas"),
        ("kserve", ("metadata", "labels"), ["a"], "labels"),
        ("rayservice", ("spec", "serveConfigV2"), {"applications": []}, "serveConfigV2"),
        ("rayservice", ("spec", "rayClusterConfig", "workerGroupSpecs", 0, "maxReplicas"), 1.5, "maxReplicas"),
    ],
    ids=lambda value: str(value[-1]) if isinstance(value, tuple) else None,
)
def test_a_wrong_value_is_found(platform: str, path: tuple[Any, ...], bad: Any, says: str) -> None:
    wrong = copy.deepcopy(KINDS[platform].manifests(PLAN)[0])
    at(wrong, path[:-1])[path[-1]] = bad
    with pytest.raises(UsageError, match=says):
        validated([wrong], FOLDER)


@needs_crds
@pytest.mark.parametrize("weight", [-1, 1_000_001, "5"])
def test_a_wrong_weight_of_a_route_is_found(weight: Any) -> None:
    wrong = copy.deepcopy(of_kind("HTTPRoute"))
    wrong["spec"]["rules"][0]["backendRefs"][0]["weight"] = weight
    with pytest.raises(UsageError, match="weight"):
        validated([wrong], FOLDER)


def test_a_pod_has_no_rights_and_leaves_in_good_order() -> None:
    pod = of_kind("Deployment")["spec"]["template"]["spec"]
    (one,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] == USER > 0
    assert one["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    assert pod["automountServiceAccountToken"] is False
    assert (
        pod["terminationGracePeriodSeconds"]
        == grace(PLAN)
        > one["lifecycle"]["preStop"]["sleep"]["seconds"] + PLAN.drain
    )
    written = {mount["mountPath"] for mount in one["volumeMounts"]}
    assert one["command"][one["command"].index("--state") + 1] in written, "the root is read-only"
    assert {one[probe]["httpGet"]["path"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")} == {
        "/v2/health/ready", "/v2/health/live",
    }  # fmt: skip
    assert one["resources"]["limits"]["memory"] == PLAN.memory and "cpu" not in one["resources"]["limits"]
    notes = of_kind("Deployment")["spec"]["template"]["metadata"]["annotations"]
    assert notes["prometheus.io/port"] == str(one["ports"][0]["containerPort"])


def test_services_autoscalers_and_budgets_mean_the_pods_of_their_arm() -> None:
    for role in ("champion", "challenger"):
        deployment, name = of_kind("Deployment", role), f"flights-late-{role}"
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        for selector in (
            deployment["spec"]["selector"]["matchLabels"], of_kind("Service", role)["spec"]["selector"],
            of_kind("PodDisruptionBudget", role)["spec"]["selector"]["matchLabels"],
        ):  # fmt: skip
            assert selector.items() <= labels.items() and selector["weigh/arm"] == role
        scaler = of_kind("HorizontalPodAutoscaler", role)["spec"]
        assert scaler["scaleTargetRef"]["name"] == deployment["metadata"]["name"] == name
        assert "replicas" not in deployment["spec"], "the number of pods is the autoscaler's"
    images = [of_kind("Deployment", role)["spec"]["template"]["spec"]["containers"][0]["image"] for role in PLAN.arms()]
    assert images == ["registry.example.org/flights:1", "registry.example.org/flights:2"]


def test_the_rollouts_weights_are_in_each_platforms_own_words() -> None:
    backends = of_kind("HTTPRoute")["spec"]["rules"][0]["backendRefs"]
    assert {one["name"]: one["weight"] for one in backends} == {
        "flights-late-champion": 95,
        "flights-late-challenger": 5,
    }
    first, then = kserve.manifests(PLAN)
    assert "canaryTrafficPercent" not in first["spec"]["predictor"]
    assert then["spec"]["predictor"]["canaryTrafficPercent"] == 5
    config = yaml.safe_load(rayservice.manifests(PLAN)[0]["spec"]["serveConfigV2"])
    told = config["applications"][0]["deployments"][0]["user_config"]
    assert told["challenge"]["share"] == 0.05 and told["challenge"]["challenger"]["path"] == "/models/better.onnx"


def test_a_rayservice_names_what_is_there() -> None:
    """Its import path, its deployment and its settings are those of `weigh.deploy.ray_app`."""
    from weigh.deploy import ray_app
    from weigh.server.routing import Routing

    (one,) = yaml.safe_load(rayservice.manifests(PLAN)[0]["spec"]["serveConfigV2"])["applications"]
    module, _, function = one["import_path"].partition(":")
    assert module == ray_app.__name__ and callable(getattr(ray_app, function))
    told = ray_app.Arguments.model_validate(one["args"])
    assert told.model == "/models/model.onnx" and one["deployments"][0]["name"] == ray_app.DEPLOYMENT
    assert Routing.model_validate(one["deployments"][0]["user_config"]).champion.path == told.model


@pytest.mark.parametrize("text", ["Späte Flüge/v2", "7", "___", "a" * 200, "A.B-C", "-x-"])
def test_names_are_what_kubernetes_takes(text: str) -> None:
    plan = Plan(name=text, champion=Arm(image="i", version=f"sha256:{text}"), gateway="g")
    validated(kubernetes.manifests(plan), FOLDER if FOLDER.is_dir() else None)
    assert len(f"{label(text)}-challenger") <= 63 and len(value(text)) <= 63


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"share": 5}, "there is none"),
        ({"replicas": 9}, "fewer than replicas=9"),
        ({"memory": "much"}, "memory"),
        ({"namespace": "No_Such"}, "namespace"),
    ],
)
def test_a_plan_that_cannot_work_is_refused(changed: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Plan.model_validate({"name": "a", "champion": PLAN.champion, **changed})


# what is written


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy(tmp_path_factory.mktemp("toy")).model


def test_a_folder_has_the_manifests_and_what_their_image_is_built_from(toy: Path, tmp_path: Path) -> None:
    subject = of_path(toy, None)
    made = write(
        Asked("kubernetes", subject, None, {"name": "toy", "image": "r.example.org/toy"}, None), tmp_path / "out"
    )
    names = [file.name.partition("-")[2] for file in made.files]
    assert names[0] == "deployment-toy-champion.yaml" and len(names) == 4
    read = yaml.safe_load(made.files[0].read_text())
    (one,) = read["spec"]["template"]["spec"]["containers"]
    inside = tmp_path / "out" / "image-champion" / one["command"][2].lstrip("/")
    assert inside.read_bytes() == toy.read_bytes(), "the pod serves the file that is in the image"
    assert one["image"] == f"r.example.org/toy:{subject.version}" and any(one["image"] in line for line in made.next)
    docker = (tmp_path / "out" / "image-champion" / "Dockerfile").read_text()
    assert f"USER {USER}:{USER}" in docker and "COPY models/ /models/" in docker


def test_versions_of_an_image_are_those_that_are_installed() -> None:
    from importlib.metadata import version

    lines = dict(line.split("==") for line in requirements(torch=False, ray=False).splitlines())
    assert (
        lines["onnxruntime"] == version("onnxruntime") and lines["weigh"] == version("weigh") and "torch" not in lines
    )
    assert "pydantic-core" in lines, "what they ask for is among them"
    assert "torch" in requirements(torch=True, ray=False)
    with pytest.raises(UsageError, match="pip install no-such-package"):
        closure(["no-such-package"])


def test_a_folder_that_weigh_did_not_write_is_left_alone(toy: Path, tmp_path: Path) -> None:
    asked = Asked("kserve", of_path(toy, None), None, {"name": "toy", "image": "i"}, None)
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="was not written by `weigh deploy`"):
        write(asked, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]
    made = write(asked, tmp_path / "new")
    (tmp_path / "new" / MARK).touch()
    assert write(asked, tmp_path / "new").files == made.files
    wrong = Asked("kserve", of_path(toy, None), None, {"name": "toy", "image": "i", "memory": "much"}, None)
    with pytest.raises(ValidationError):
        write(wrong, tmp_path / "new")
    assert all(file.is_file() for file in made.files), "a run that fails leaves what was there"


def test_the_verb_writes_and_applies_where_there_is_a_cluster(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A kubectl that notes what it is asked stands in for a cluster; without a context nothing is given to anyone."""
    noted = tmp_path / "noted"
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(f'#!/bin/sh\n[ "$1" = config ] && exit 1\necho "$@" >> {noted}\n')
    kubectl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    words = ["deploy", str(toy), "--platform", "kubernetes", "--image", "i", "--to", str(tmp_path / "out"), "--apply"]
    assert main(words) == 2
    assert "there is none: type `kubectl config use-context NAME`" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    kubectl.write_text(f'#!/bin/sh\n[ "$1" = config ] && echo mine && exit 0\necho "$@" >> {noted}\n')
    assert main(words) == 0
    asked = noted.read_text().splitlines()
    assert len(asked) == 4 and all("--context mine apply --server-side" in line for line in asked)
    assert asked[0].endswith("01-deployment-toy-champion.yaml")
    kubectl.write_text('#!/bin/sh\n[ "$1" = config ] && echo mine && exit 0\necho no quota >&2; exit 1\n')
    assert main(words) == 2 and "does not take" in capsys.readouterr().err


def test_real_kubectl_without_a_cluster_is_refused_in_words(toy: Path, tmp_path: Path) -> None:
    import shutil
    import sys

    if shutil.which("kubectl") is None:
        pytest.skip("needs kubectl on the path")
    done = subprocess.run(
        [sys.executable, "-m", "weigh", "deploy", str(toy), "--to", str(tmp_path / "out"), "--apply"], text=True,
        capture_output=True, env={**os.environ, "KUBECONFIG": str(tmp_path / "none")},
    )  # fmt: skip
    assert done.returncode == 2 and "there is none: type `kubectl config use-context NAME`" in done.stderr


def test_models_without_a_shape_ask_for_rows(tmp_path: Path, toy: Path) -> None:
    import numpy as np
    import onnx

    model = onnx.load(toy)
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "width"
    onnx.save(model, tmp_path / "free.onnx")
    with pytest.raises(UsageError, match=r"does not say what shape its input 'x' has.*--rows FILE"):
        of_path(tmp_path / "free.onnx", None)
    np.savez(tmp_path / "rows.npz", X=np.zeros((3, 16), np.float32))
    assert of_path(tmp_path / "free.onnx", tmp_path / "rows.npz").rows["x"].shape == (3, 16)
